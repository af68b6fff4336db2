"""OpenStreetMap: the tags that layers take, areas, turn restrictions, and what an extract cuts off."""

from pathlib import Path

import numpy as np

from cim.catalog.read import read_catalog
from cim.city import City
from cim.features import Features, ReadOptions
from ingest.delivery.declared import Declared
from ingest.formats.vector import osm
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore
from tests.factory import write_terrain

LIECHTENSTEIN = City(name="Liechtenstein", srid=25832, vertical_datum="city", extent=(9.4, 47.0, 9.7, 47.3))

HEAD = '<?xml version="1.0" encoding="UTF-8"?><osm version="0.6">'
NODES = "".join(
    f'<node id="{n}" version="1" lon="{113.58 + x / 1000}" lat="{37.86 + y / 1000}"/>'
    for n, (x, y) in enumerate([(0, 0), (1, 0), (1, 1), (0, 1), (2, 0), (2, 1)], start=1)
)


def written(path: Path, body: str) -> Path:
    path.write_text(HEAD + NODES + body + "</osm>", "utf-8")
    return path


def way(number: int, nodes: list[int], **tags: str) -> str:
    refs = "".join(f'<nd ref="{n}"/>' for n in nodes)
    return f'<way id="{number}" version="1">{refs}{_tags(tags)}</way>'


def relation(number: int, members: list[tuple[str, int, str]], **tags: str) -> str:
    inside = "".join(f'<member type="{kind}" ref="{ref}" role="{role}"/>' for kind, ref, role in members)
    return f'<relation id="{number}" version="1">{inside}{_tags(tags)}</relation>'


def _tags(tags: dict[str, str]) -> str:
    return "".join(f'<tag k="{key}" v="{value}"/>' for key, value in tags.items())


def the_batch(path: Path) -> Features:
    (source,) = osm.read(path, ReadOptions(read_catalog()))
    (batch,) = source.batches
    return batch


def test_an_object_goes_to_each_layer_that_takes_it(tmp_path: Path) -> None:
    batch = the_batch(written(tmp_path / "a.osm", way(7, [1, 2, 3, 4, 1], building="yes", amenity="hospital")))
    shapes = dict(zip(batch.object_class, batch.geometry, strict=True))
    assert batch.ids == ["way/7", "way/7"]
    assert shapes["building=*"].geom_type == "MultiPolygon"
    assert shapes["building=*"].contains(shapes["amenity=hospital"])


def test_a_multipolygon_keeps_its_hole(tmp_path: Path) -> None:
    nodes = "".join(
        f'<node id="{n}" version="1" lon="{113.58 + x / 1000}" lat="{37.86 + y / 1000}"/>'
        for n, (x, y) in enumerate([(0.2, 0.2), (0.8, 0.2), (0.8, 0.8)], start=11)
    )
    ways = way(7, [1, 2, 3, 4, 1]) + way(8, [11, 12, 13, 11])
    whole = relation(9, [("way", 7, "outer"), ("way", 8, "inner")], type="multipolygon", building="yes")
    batch = the_batch(written(tmp_path / "a.osm", nodes + ways + whole))
    assert batch.ids == ["relation/9"]
    assert len(batch.geometry[0].geoms[0].interiors) == 1


def test_what_cannot_become_an_area_is_refused_by_name(tmp_path: Path) -> None:
    batch = the_batch(written(tmp_path / "a.osm", way(7, [1, 2, 3], building="yes")))
    assert [(r.id, r.reason) for r in batch.refused] == [("way/7", "building=*: its ways don't close to an area")]


def test_a_road_over_the_edge_of_an_extract_keeps_the_part_that_is_there(tmp_path: Path) -> None:
    body = way(7, [1, 2, 999, 3, 4], highway="primary") + way(8, [998, 1, 999], highway="primary")
    batch = the_batch(written(tmp_path / "a.osm", body))
    assert [len(line.geoms) for line in batch.geometry] == [2]
    assert list(batch.warnings.values()) == [("way/7",)]
    assert [r.id for r in batch.refused] == ["way/8"]


def test_a_turn_restriction_stands_at_its_via_and_names_its_roads(tmp_path: Path) -> None:
    roads = way(7, [1, 2], highway="primary") + way(8, [2, 5], highway="primary") + way(9, [5, 6], highway="primary")
    no_turn = {"type": "restriction", "restriction": "no_u_turn"}
    at_node = relation(1, [("way", 7, "from"), ("node", 2, "via"), ("way", 8, "to")], **no_turn)
    over_way = relation(2, [("way", 7, "from"), ("way", 8, "via"), ("way", 9, "to")], **no_turn)
    broken = relation(3, [("way", 7, "from"), ("node", 2, "via")], **no_turn)
    gone = relation(4, [("way", 7, "from"), ("way", 10, "via"), ("way", 9, "to")], **no_turn)
    cut = way(10, [997, 998], highway="primary")
    batch = the_batch(written(tmp_path / "a.osm", roads + cut + at_node + over_way + broken + gone))
    records = zip(batch.ids, batch.attributes, batch.geometry, strict=True)
    turns = {name: (said["from"], said["to"], place.x) for name, said, place in records if "from" in said}
    assert turns["relation/1"] == ("way/7", "way/8", 113.581)
    assert abs(turns["relation/2"][2] - 113.5815) < 1e-9
    assert [r.id for r in batch.refused] == ["way/10", "relation/3", "relation/4"]


def test_objects_that_no_layer_takes_are_counted(tmp_path: Path) -> None:
    batch = the_batch(written(tmp_path / "a.osm", way(7, [1, 2], power="line") + way(8, [1, 2], highway="service")))
    assert list(batch.warnings) == ["1 tagged objects that no layer takes left out: 1 power=…"]


def test_liechtenstein_goes_in_with_its_roads_buildings_and_parking(
    make_store: MakeStore, shared_data: Path, tmp_path: Path
) -> None:
    store = make_store(LIECHTENSTEIN)
    terrain = write_terrain(tmp_path / "terrain.tif", np.full((9, 9), 500), (9.3, 46.9, 9.8, 47.4), "EPSG:4326")
    paths = [terrain, shared_data / "osm_liechtenstein/liechtenstein-latest.osm.pbf"]
    file = ingest(store, paths, Declared(vertical_datum="city")).files[1]
    assert file.error is None
    assert file.read == file.loaded + file.refused

    def count(sql: str) -> object:
        with store.connect() as connection:
            return connection.execute(sql.encode()).fetchone()

    # 8,992 ways carry the tag: two do not close and one says no; five more are relations
    assert count("SELECT count(*), count(*) FILTER (WHERE id LIKE 'way/%') FROM twin.building") == (8994, 8989)
    assert count("SELECT count(*) FROM twin.road_segment") == (4660,)
    assert count("SELECT count(*), bool_and(from_road LIKE 'way/%') FROM twin.turn_restriction") == (3, True)
    assert count("SELECT count(*), round(sum(ST_Area(geom))) > 50000 FROM twin.parking_lot") == (128, True)
    assert sum(ids.count(f"way/{n}") for ids in file.refused_ids.values() for n in (346556167, 346556203)) == 2
