"""The law of edits: what didn't change in shape keeps its bodies and its heights, and a read that is put back is none.

Objects of every kind, each edited in every way by every asker, with random shapes.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import mapping, shape

from cim.access.asker import Asker
from cim.city import YANGQUAN, City
from cim.config import Settings
from cim.errors import BadRequest
from cim.geometry.measures import z_ranges
from cim.geometry.stored_form import decode
from cim.read.layers import Query, features
from cim.store import cluster
from cim.store.connection import Store, connect, open_store
from ingest.delivery.declared import Declared
from ingest.load.edit import Edit, Edited, apply_edit
from ingest.load.pipeline import ingest
from tests.conftest import DELFT, ZURICH, MakeStore
from tests.factory import EAST, NORTH, cityjson

Json = dict[str, Any]
CITY_HEIGHTS = Declared(vertical_datum="city", crs="EPSG:4547")
DEGREE_M = 100_000.0  # roughly, of longitude and of latitude


@dataclass(frozen=True)
class Kind:
    """A kind of object: its layer, a number that isn't its height, and a field that not everybody sees."""

    layer: str
    number: str
    sensitive: str = ""
    has_z: bool = False
    measured: bool = False
    block: bool = False


KINDS = {
    "measured": Kind("building", "roof_points", measured=True),
    "block": Kind("building", "roof_points", block=True),
    "block of storeys": Kind("building", "roof_points", block=True),
    "bridge": Kind("bridge", "width_m", measured=True),
    "line": Kind("pipeline", "diameter_mm", "pressure_mpa", has_z=True),
    "point": Kind("hazardous_site", "quantity_t", "contact_phone", has_z=True),
    "area with heights": Kind("parcel", "area_m2", has_z=True),
    "area": Kind("parcel", "area_m2"),
    "event": Kind("event", "件数", "reporter"),
    "space": Kind("parking_space", "件数"),
}
ASKERS = {"nobody": Asker(), "viewer": Asker("v", "viewer"), "editor": Asker("e", "editor")}


# what an editor does to a feature that it read


def nothing(feature: Json, kind: Kind, rng: random.Random) -> None:
    """Put back what was read."""


def other_name(feature: Json, kind: Kind, rng: random.Random) -> None:
    feature["properties"]["name"] = f"新名{rng.random()}"


def other_number(feature: Json, kind: Kind, rng: random.Random) -> None:
    feature["properties"][kind.number] = rng.randint(1, 900)


def another_member(feature: Json, kind: Kind, rng: random.Random) -> None:
    feature["properties"]["备注"] = {"深": [rng.random()]}


def plain_values(feature: Json, kind: Kind, rng: random.Random) -> None:
    """Put back as an editor does that knows neither nested values nor offsets of times."""
    properties = feature["properties"]
    properties["extra"] = json.dumps(properties["extra"])
    if "reported_at" in properties:
        properties["reported_at"] = properties["reported_at"].removesuffix("+00:00")


def only_said(feature: Json, kind: Kind, rng: random.Random) -> None:
    """Put back without what nobody sets."""
    for member in (
        "class_code",
        "dataset",
        "load",
        "valid_from",
        "valid_until",
        "surveyed",
        "lods",
        "flags",
        "parent_id",
    ):
        del feature["properties"][member]


def same_shape(feature: Json, kind: Kind, rng: random.Random) -> None:
    """Write the geometry as another program would: flat, rounded, its rings from elsewhere and the other way round."""

    def jittered(xy: Any) -> Any:
        return np.round(np.asarray(xy) + rng.uniform(-1, 1) * 1e-9, 9)

    geometry = shapely.transform(shapely.force_2d(shape(feature["geometry"])), jittered)
    if geometry.geom_type == "MultiPolygon":
        geometry = shapely.MultiPolygon([_turned(polygon, rng) for polygon in geometry.geoms])
    if geometry.geom_type.startswith("Multi") and len(geometry.geoms) == 1 and rng.random() < 0.5:
        geometry = geometry.geoms[0]
    feature["geometry"] = mapping(geometry)


def _turned(polygon: shapely.Polygon, rng: random.Random) -> shapely.Polygon:
    rings = []
    for ring in (polygon.exterior, *polygon.interiors):
        points = list(ring.coords)[:-1]
        first = rng.randrange(len(points))
        points = points[first:] + points[:first]
        rings.append(points[::-1] if rng.random() < 0.5 else points)
    return shapely.Polygon(rings[0], rings[1:])


def zero_heights(feature: Json, kind: Kind, rng: random.Random) -> None:
    """Give every vertex the height 0, as an editor does that knows none."""
    flat = shapely.force_2d(shape(feature["geometry"]))
    feature["geometry"] = mapping(shapely.force_3d(flat, 0.0))


def moved(feature: Json, kind: Kind, rng: random.Random) -> None:
    """Move one vertex by some metres, in the plane."""
    geometry = shapely.force_2d(shape(feature["geometry"]))
    points = shapely.get_coordinates(geometry)
    vertex = rng.randrange(len(points))
    twins = np.hypot(*(points - points[vertex]).T) < 1e-12  # a ring's first vertex is its last
    points[twins] += np.array([rng.choice([-1, 1]), rng.choice([-1, 1])]) * 2 / DEGREE_M
    feature["geometry"] = mapping(shapely.set_coordinates(geometry, points))


def other_height(feature: Json, kind: Kind, rng: random.Random) -> None:
    if kind.layer == "building":
        feature["properties"]["height_m"] = round(rng.uniform(31, 60), 1)


def lower(feature: Json, kind: Kind, rng: random.Random) -> None:
    """Give every vertex another height."""
    geometry = shape(feature["geometry"])
    if shapely.has_z(geometry):
        feature["geometry"] = mapping(shapely.transform(geometry, lambda p: p - [0, 0, 1.5], include_z=True))


Change = Callable[[Json, Kind, random.Random], None]
UNCHANGED: tuple[Change, ...] = (nothing, plain_values, only_said, same_shape, zero_heights)
ATTRIBUTES: tuple[Change, ...] = (other_name, other_number, another_member)
EDITS = {change.__name__: change for change in (*UNCHANGED, *ATTRIBUTES, moved, other_height, lower)}
CASES = list(product(KINDS, EDITS, ASKERS))


def made(number: int, name: str, rng: random.Random) -> Json:
    """One object of a kind, at a place of its own, as GeoJSON or as an object of CityJSON."""
    x, y, z = EAST + 60.0 * (number % 25), NORTH + 60.0 * (number // 25), round(rng.uniform(690, 720), 3)
    said: Json = {"name": f"名{number}", "来源": {"b": [1, 2], "a": None, "年": 2019}}
    if name in ("measured", "bridge"):
        attributes = said | {"height": 12.0, "高度": 11.5, "storeys": 4, "base": z, "roof_points": 7}
        box = (x, y, z, rng.randint(9, 30), rng.randint(9, 30), rng.randint(4, 20))
        return {"type": "Bridge" if name == "bridge" else "Building", "box": box, "attributes": attributes}
    said["id"] = f"o{number}"
    if name == "point":
        point = {"type": "Point", "coordinates": [x + rng.random(), y + rng.random(), z]}
        properties = said | {"quantity_t": 12.5, "contact_phone": "0353-1"}
        return {"type": "Feature", "properties": properties, "geometry": point}
    if name == "event":
        point = {"type": "Point", "coordinates": [x, y]}
        properties = said | {"reported_at": "2024-05-01T08:30:15+08:00", "reporter": "张", "category": "井盖"}
        return {"type": "Feature", "properties": properties, "geometry": point}
    if name == "line":  # with a riser: two vertices above each other
        steps = [(x + 5 * k, y + rng.uniform(0, 9), z - k) for k in range(rng.randint(2, 5))]
        parts = [[*steps, (*steps[-1][:2], z + 3.25)], [(x, y + 20, z), (x + 9, y + 20, z + 1)]][: rng.randint(1, 2)]
        properties = said | {"diameter_mm": 300, "pressure_mpa": 0.4, "medium": "给水"}
        return {"type": "Feature", "properties": properties, "geometry": mapping(shapely.MultiLineString(parts))}
    angles = np.sort([rng.uniform(0, 0.7) + k * 2 * np.pi / 6 for k in range(6)])
    ring = [(x + rng.uniform(14, 20) * np.cos(a), y + rng.uniform(14, 20) * np.sin(a)) for a in angles]
    holes = [[(x - 2, y - 2), (x + 2, y - 2), (x + 2, y + 3), (x - 2, y + 2)]] if rng.random() < 0.5 else []
    polygon = shapely.Polygon(ring, holes)
    if name == "area with heights":
        heights = [(a, b, z + 0.1 * k) for k, (a, b) in enumerate(ring)]
        polygon = shapely.Polygon(heights)
    by_kind = {
        "block": {"height_m": 18.33, "建筑高度": 17.0, "base_m": z, "roof_points": 3},
        "block of storeys": {"storeys": 5, "base_m": z, "roof_points": 3},
    }
    by_kind["space"] = {"charging": True, "accessible": False, "name": "007"}
    properties = said | by_kind.get(name, {"area_m2": 0.1 + 0.2, "land_use": "residential"})
    return {"type": "Feature", "properties": properties, "geometry": mapping(polygon)}


@pytest.fixture(scope="module")
def city(
    private_cluster: cluster.Cluster,
    template_database: Callable[[City], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Store]:
    """A store with an object for each case."""
    folder = tmp_path_factory.mktemp("edited")
    name = folder.name.replace("-", "_")
    template = template_database(YANGQUAN)
    with connect(private_cluster.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {template}'.encode())
    with open_store(Settings(state=folder, database_url=private_cluster.url("postgres", name))) as store:
        load_objects(store, folder, [kind for kind, _, _ in CASES])
        yield store


def load_objects(store: Store, folder: Path, kinds: list[str]) -> None:
    rng = random.Random(5)
    objects = [(f"o{n}", kind, made(n, kind, rng)) for n, kind in enumerate(kinds)]
    document = cityjson({name: said for name, _, said in objects if "box" in said})
    document["appearance"] = {"materials": [{"name": "brick", "diffuseColor": [0.7, 0.3, 0.2]}]}
    for said in document["CityObjects"].values():
        (fine,) = said["geometry"]
        said["geometry"].append(json.loads(json.dumps(fine)) | {"lod": "1"})
        fine["material"] = {"day": {"values": [[0, None, None, 0, None, 0]]}}
    files = [folder / "bodies.city.json"] if document["CityObjects"] else []
    for path in files:
        path.write_text(json.dumps(document), "utf-8")
    for name in dict.fromkeys(kinds):
        shapes = [said for _, kind, said in objects if kind == name and "box" not in said]
        if shapes:
            folder.joinpath(name).mkdir()
            files.append(folder / name / f"{KINDS[name].layer}.geojson")
            files[-1].write_text(json.dumps({"type": "FeatureCollection", "features": shapes}), "utf-8")
    report = ingest(store, files, CITY_HEIGHTS)
    assert report.exit_code == 0, report.summary()


def read(store: Store, layer: str, identifier: str, asker: Asker, srid: int = 4326) -> Json:
    """The object as `/ogc` serves it to somebody."""
    query = Query(equals={"id": identifier}, public_only=not asker.sees_sensitive, out_srid=srid)
    with store.connect() as connection, connection.cursor() as cursor:
        page = features(cursor, store.catalog.layers[layer], store.city.srid, query)
    found: Json = json.loads(page.text)
    return found


def put(store: Store, layer: str, feature: Json, asker: Asker, crs: str = "OGC:CRS84", at: Any = None) -> Edited:
    edit = Edit(store.catalog.layers[layer], feature["id"], "replace", feature, crs, at)
    with store.connect() as connection, connection.cursor() as cursor:
        return apply_edit(cursor, store, edit, asker)


def stored(store: Store, layer: str, identifier: str) -> tuple[Json, ...]:
    """Every version of an object, the current one first."""
    fields = ", ".join(f'"{f.name}"' for f in store.catalog.layers[layer].fields)
    with store.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            f"""SELECT ST_AsBinary(geom) AS geom, lods, bodies, flags, parent_id, public, dataset, extra, {fields}
                FROM twin.{layer} WHERE id = %s ORDER BY upper_inf(recorded) DESC, fid DESC""",
            [identifier],
        )
        names = [column.name for column in cursor.description or ()]
        return tuple(dict(zip(names, row, strict=True)) for row in cursor.fetchall())


def z_range(store: Store, hashes: list[bytes]) -> tuple[float, float]:
    with store.connect() as connection:
        (row,) = connection.execute("SELECT faces FROM cim.body WHERE hash = %s", [hashes[-1]]).fetchall()
    low, high = z_ranges(decode([bytes(row[0])]))
    return float(low[0]), float(high[0])


@pytest.mark.parametrize(("kind_name", "edit_name", "asker_name"), CASES)
def test_what_an_edit_leaves_as_it_is(city: Store, kind_name: str, edit_name: str, asker_name: str) -> None:
    number = CASES.index((kind_name, edit_name, asker_name))
    kind, change, asker = KINDS[kind_name], EDITS[edit_name], ASKERS[asker_name]
    identifier, rng = f"o{number}", random.Random(number)
    (before,) = stored(city, kind.layer, identifier)
    assert bool(before["bodies"]) == (kind.measured or kind.block)
    assert shapely.has_z(shapely.from_wkb(before["geom"])) == kind.has_z
    feature = read(city, kind.layer, identifier, asker)
    change(feature, kind, rng)
    edited = put(city, kind.layer, feature, asker)
    after, *past = stored(city, kind.layer, identifier)

    if kind.sensitive:  # whoever doesn't see it can't wipe it
        assert after[kind.sensitive] == before[kind.sensitive] is not None
    assert (after["public"], after["dataset"], after["parent_id"]) == (True, before["dataset"], None)
    if past:
        assert past == [before]
    if (
        change in UNCHANGED
        or (change is other_height and kind.layer != "building")
        or (change is lower and not kind.has_z)
    ):
        assert (edited.action, past) == ("unchanged", [])
        return
    assert edited.action == "replaced"
    if change in ATTRIBUTES or (change is other_height and kind.measured):
        same = ("geom", "lods", "bodies", "flags")
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        differ = [name for name in after if after[name] != before[name]]
        name = {other_name: "name", other_number: kind.number, another_member: "extra"}.get(change, "height_m")
        if not (name == "extra" or name in before):  # a bridge has no width
            name = "extra"
        assert differ == [name]
        assert bool(edited.warnings) == (change is other_height)  # a number doesn't make a measured body higher
    if change is other_height and kind.block:
        assert after["geom"] == before["geom"]
        low, high = z_range(city, after["bodies"])
        assert low == z_range(city, before["bodies"])[0]
        assert high - low == pytest.approx(after["height_m"], abs=1e-3)
        assert after["lods"] == ["1"]
        assert not after["flags"]  # its height isn't assumed from storeys any more
    if change is lower:
        old, new = (shapely.get_coordinates(shapely.from_wkb(v["geom"]), include_z=True) for v in (before, after))
        assert np.array_equal(old[:, :2], new[:, :2])
        assert np.allclose(new[:, 2], old[:, 2] - 1.5, atol=2e-4)
    if change is moved:
        check_moved(city, kind, before, after, edited)


def check_moved(city: Store, kind: Kind, before: Json, after: Json, edited: Edited) -> None:
    old, new = (shapely.from_wkb(version["geom"]) for version in (before, after))
    old_points, new_points = (shapely.get_coordinates(geometry, include_z=True) for geometry in (old, new))
    stayed = (np.abs(new_points[:, None, :2] - old_points[None, :, :2]).max(axis=2) == 0).any(axis=1)
    gone = len(new_points) - np.count_nonzero(stayed)
    assert gone in ((1, 2) if kind.layer != "pipeline" else (1, 2, 3))  # a ring's end, a riser
    if kind.has_z:
        heights = {tuple(point) for point in old_points.tolist()}
        assert {tuple(point) for point in new_points[stayed].tolist()} <= heights
        assert np.isfinite(new_points[:, 2]).all()
        assert new_points[:, 2].min() >= old_points[:, 2].min()
        assert new_points[:, 2].max() <= old_points[:, 2].max()
    else:
        assert not shapely.has_z(new)
    ended = [warning for warning in edited.warnings if "has ended" in warning]
    assert bool(ended) == kind.measured
    if kind.layer == "building":
        low, high = z_range(city, after["bodies"])
        assert after["lods"] == ["1"]
        height = after["height_m"] or 3.0 * after["storeys"]
        assert (low, high - low) == (pytest.approx(after["base_m"]), pytest.approx(height, abs=1e-3))
    else:
        assert after["bodies"] is None


def test_what_is_left_out_is_gone_and_what_is_cleared_isnt_filled_from_elsewhere(store: Store, tmp_path: Path) -> None:
    load_objects(store, tmp_path, ["block", "line"])
    feature = read(store, "building", "o0", ASKERS["editor"])
    assert feature["properties"]["extra"]["建筑高度"] == 17.0  # an alias of height_m, which came second
    feature["properties"]["height_m"] = None
    del feature["properties"]["name"]
    edited = put(store, "building", feature, ASKERS["editor"])
    after, before = stored(store, "building", "o0")
    assert (after["height_m"], after["name"]) == (None, None)
    assert after["extra"] == before["extra"]
    assert (after["bodies"], after["flags"]) == (None, ["no_height"])
    assert any("footprint only" in warning for warning in edited.warnings)
    # who sees a sensitive value may clear it
    pipe = read(store, "pipeline", "o1", ASKERS["viewer"])
    pipe["properties"] |= {"pressure_mpa": None, "extra": None}
    assert put(store, "pipeline", pipe, ASKERS["viewer"]).action == "replaced"
    after, _ = stored(store, "pipeline", "o1")
    assert (after["pressure_mpa"], after["extra"]) == (None, None)


def test_a_building_of_parts_gets_no_block_of_its_own(store: Store, tmp_path: Path) -> None:
    document = cityjson(
        {
            "whole": {"children": ["part"], "attributes": {"height": 9.0, "base": 700.0}},
            "part": {"type": "BuildingPart", "parents": ["whole"], "box": (EAST, NORTH, 700, 20, 10, 9)},
        }
    )
    path = tmp_path / "parts.city.json"
    path.write_text(json.dumps(document), "utf-8")
    assert ingest(store, [path], CITY_HEIGHTS).exit_code == 0
    for change in (other_name, other_height, moved):
        feature = read(store, "building", "whole", ASKERS["editor"])
        change(feature, KINDS["measured"], random.Random(1))
        assert put(store, "building", feature, ASKERS["editor"]).action == "replaced"
        assert stored(store, "building", "whole")[0]["bodies"] is None
        (part,) = stored(store, "building", "part")
        assert part["lods"] == ["2"]


def test_a_base_height_moves_the_block_that_stands_on_it(store: Store, tmp_path: Path) -> None:
    load_objects(store, tmp_path, ["block", "block of storeys"])
    for identifier in ("o0", "o1"):
        feature = read(store, "building", identifier, ASKERS["editor"])
        feature["properties"]["base_m"] = 755.5
        put(store, "building", feature, ASKERS["editor"])
        after, before = stored(store, "building", identifier)
        low, high = z_range(store, after["bodies"])
        was_low, was_high = z_range(store, before["bodies"])
        assert (low, high - low) == (755.5, pytest.approx(was_high - was_low, abs=2e-4))
        assert after["flags"] == before["flags"]


@pytest.mark.parametrize("place", [(ZURICH, 2_683_000.0, 1_247_000.0), (DELFT, 85_000.0, 446_000.0)])
@pytest.mark.parametrize("served", ["degrees", "city"])
def test_what_went_out_comes_back_to_its_place(
    make_store: MakeStore, tmp_path: Path, place: tuple[City, float, float], served: str
) -> None:
    """PostGIS serves by another operation than the one that loads: some centimetres apart, at each edit."""
    city, x, y = place
    store = make_store(city)
    square = shapely.box(x, y, x + 20, y + 10)
    said = {"type": "Feature", "properties": {"id": "P"}, "geometry": mapping(square)}
    path = tmp_path / "parcel.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [said]}), "utf-8")
    assert ingest(store, [path], Declared(crs=f"EPSG:{city.srid}")).exit_code == 0
    srid, crs = (4326, "OGC:CRS84") if served == "degrees" else (city.srid, f"EPSG:{city.srid}")
    feature = read(store, "parcel", "P", ASKERS["editor"], srid)
    assert put(store, "parcel", feature, ASKERS["editor"], crs).action == "unchanged"
    feature["id"] = "Q"
    assert put(store, "parcel", feature, ASKERS["editor"], crs).action == "created"
    (first,), (second,) = (stored(store, "parcel", name) for name in "PQ")
    assert shapely.hausdorff_distance(*(shapely.from_wkb(v["geom"]) for v in (first, second))) < 1e-3


def test_the_same_corners_joined_in_another_way_are_another_shape(store: Store) -> None:
    corners = [(EAST + a, NORTH + b) for a, b in ((0, 0), (40, 0), (10, 10), (0, 40))]
    first, second = shapely.Polygon(corners), shapely.Polygon([corners[k] for k in (0, 2, 1, 3)])
    assert first.is_valid
    assert second.is_valid
    said = {"type": "Feature", "id": "P", "properties": {}, "geometry": mapping(first)}
    assert put(store, "parcel", said, ASKERS["editor"], "EPSG:4547").action == "created"
    said["geometry"] = mapping(second)
    assert put(store, "parcel", said, ASKERS["editor"], "EPSG:4547").action == "replaced"
    now, _ = stored(store, "parcel", "P")
    assert shapely.area(shapely.from_wkb(now["geom"])) == pytest.approx(second.area, abs=1e-2)
    assert abs(first.area - second.area) > 100


def test_a_line_that_runs_the_other_way_is_another_line(store: Store) -> None:
    line = [[EAST, NORTH], [EAST + 30, NORTH + 4]]
    said = {"type": "Feature", "id": "R", "properties": {}, "geometry": {"type": "LineString", "coordinates": line}}
    assert put(store, "road_segment", said, ASKERS["editor"], "EPSG:4547").action == "created"
    said["geometry"]["coordinates"] = line[::-1]
    assert put(store, "road_segment", said, ASKERS["editor"], "EPSG:4547").action == "replaced"
    assert put(store, "road_segment", said, ASKERS["editor"], "EPSG:4547").action == "unchanged"


def test_an_edit_changes_the_version_that_holds_now(store: Store, tmp_path: Path) -> None:
    """Where another follows it on a date ahead, that one stays as it is."""
    load_objects(store, tmp_path, ["area"])
    ahead = datetime.now(UTC) + timedelta(days=30)
    feature = read(store, "parcel", "o0", ASKERS["editor"])
    feature["properties"]["name"] = "later"
    put(store, "parcel", feature, ASKERS["editor"], at=ahead)
    feature = read(store, "parcel", "o0", ASKERS["editor"])
    feature["properties"]["name"] = "now"
    put(store, "parcel", feature, ASKERS["editor"])
    assert read(store, "parcel", "o0", ASKERS["editor"])["properties"]["name"] == "now"
    with store.connect() as connection:
        rows = connection.execute(
            "SELECT name FROM twin.parcel WHERE upper_inf(recorded) AND upper_inf(valid)"
        ).fetchall()
    assert rows == [("later",)]


def test_a_moment_that_an_editor_cut_is_that_of_the_version(store: Store, tmp_path: Path) -> None:
    """What was read of a version that began within a second is put back to that version, not to the one before."""
    load_objects(store, tmp_path, ["area"])
    began = datetime(2024, 5, 1, 8, 30, 15, 987654, UTC)
    for name, at in (("second", began), ("corrected", began.replace(microsecond=0))):
        feature = read(store, "parcel", "o0", ASKERS["editor"])
        feature["properties"]["name"] = name
        put(store, "parcel", feature, ASKERS["editor"], at=at)
    with store.connect() as connection:
        rows = connection.execute(
            "SELECT name, lower(valid) FROM twin.parcel WHERE upper_inf(recorded) ORDER BY 2 NULLS FIRST"
        ).fetchall()
    assert rows == [("名0", None), ("corrected", began)]


@pytest.mark.parametrize(
    "broken", [{"properties": [1]}, {"properties": {"extra": [1]}}, {"properties": {"extra": "{"}}, {"properties": 4}]
)
def test_what_cant_be_read_says_so(store: Store, broken: Json) -> None:
    said = {"type": "Feature", "id": "H", "geometry": {"type": "Point", "coordinates": [113.58, 37.86]}} | broken
    with pytest.raises(BadRequest):
        put(store, "hydrant", said, ASKERS["editor"])
