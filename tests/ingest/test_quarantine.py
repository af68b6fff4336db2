"""What a load sets aside is kept with its reason, handed out, mended and loaded again."""

import json
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
import shapely

from cim.errors import BadRequest, NotFound
from cim.loads.quarantine import SetAside, hand_out, list_set_aside, set_aside
from cim.messages import told
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest

HYDRANT = {"type": "Point", "coordinates": [113.58, 37.86]}
AREA = {"type": "Polygon", "coordinates": [[[113.58, 37.86], [113.59, 37.86], [113.59, 37.87], [113.58, 37.86]]]}


def write(path: Path, features: list[tuple[dict[str, object], object]]) -> Path:
    made = [{"type": "Feature", "properties": said, "geometry": shape} for said, shape in features]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": made}, ensure_ascii=False), "utf-8")
    return path


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with store.connect() as connection:
        return connection.execute(sql.encode()).fetchall()


@pytest.fixture
def with_faults(store: Store, tmp_path: Path) -> Store:
    """A hydrant, one without geometry, and one that is an area."""
    faulty = [({"id": "none", "name": "无", "x": [1, 2]}, None), ({"id": "area", "name": "面", "n": 3}, AREA)]
    path = write(tmp_path / "hydrant.geojson", [({"id": "good"}, HYDRANT), *faulty])
    report = ingest(store, [path], Declared())
    assert (report.exit_code, report.files[0].loaded, report.files[0].refused) == (3, 1, 2), report.summary()
    return store


def test_each_record_is_kept_with_its_reason_its_source_and_its_shape(with_faults: Store) -> None:
    found = rows(
        with_faults,
        "SELECT layer, record, attributes->>'name', geometry IS NULL, ST_SRID(geometry), file LIKE '%hydrant.geojson'"
        " FROM cim.quarantine ORDER BY record",
    )
    assert found == [("hydrant", "area", "面", False, 4547, True), ("hydrant", "none", "无", True, None, True)]
    reasons = dict(rows(with_faults, "SELECT record, reason FROM cim.quarantine"))
    assert {record: told(reason, "en") for record, reason in reasons.items()} == {
        "area": "a Polygon has no place in the layer hydrant of Points",
        "none": "no geometry",
    }
    assert {record: told(reason, "zh") for record, reason in reasons.items()} == {
        "area": "图层 hydrant 只收 Point，不收 Polygon",
        "none": "没有几何图形",
    }


def test_it_is_listed_by_load_and_reason(with_faults: Store) -> None:
    with with_faults.connect() as connection, connection.cursor() as cursor:
        lines = list(list_set_aside(cursor))
        assert list(list_set_aside(cursor, 999)) == []
    assert len(lines) == 2
    assert any("1 × no geometry (none)" in line for line in lines)


def test_mended_records_are_loaded_again_and_are_then_settled(with_faults: Store, tmp_path: Path) -> None:
    path = tmp_path / "aside.gpkg"
    with with_faults.connect() as connection, connection.cursor() as cursor:
        assert hand_out(cursor, with_faults, path) == 2
    assert [name for name, _ in pyogrio.list_layers(path)] == ["hydrant"]
    frame = gpd.read_file(path)
    assert frame.set_index("id").loc["area", "set_aside_because"].startswith("a Polygon has no place")
    mended = frame.assign(geometry=[shapely.Point(463_000, 4_192_000)] * 2).set_crs(4547, allow_override=True)
    mended.to_file(tmp_path / "mended.gpkg", layer="hydrant", driver="GPKG")
    report = ingest(with_faults, [tmp_path / "mended.gpkg"], Declared())
    assert (report.exit_code, report.files[0].loaded) == (0, 2), report.summary()
    assert rows(with_faults, "SELECT count(*) FROM cim.quarantine WHERE resolved IS NULL") == [(0,)]
    with with_faults.connect() as connection, connection.cursor() as cursor:
        assert list(list_set_aside(cursor)) == []
        with pytest.raises(NotFound):
            hand_out(cursor, with_faults, path)
        with pytest.raises(BadRequest):
            hand_out(cursor, with_faults, tmp_path / "aside.shp")


def test_a_clash_of_ids_keeps_what_the_refused_object_says(store: Store, tmp_path: Path) -> None:
    first = write(tmp_path / "hydrant_a.geojson", [({"id": "H", "name": "a"}, HYDRANT)])
    far = {"type": "Point", "coordinates": [113.7, 37.9]}
    second = write(tmp_path / "hydrant_b.geojson", [({"id": "H", "name": "b", "own": 1}, far), ({"id": "I"}, far)])
    assert ingest(store, [first], Declared(dataset="a")).exit_code == 0
    assert ingest(store, [second], Declared(dataset="b")).exit_code == 3
    found = rows(store, "SELECT record, attributes, ST_X(ST_Transform(geometry, 4490)) FROM cim.quarantine")
    assert [(r, a) for r, a, _ in found] == [("H", {"name": "b", "own": 1})]
    assert found[0][2] == pytest.approx(113.7)


def test_lines_that_a_reader_cannot_use_are_kept_as_they_stand(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "survey_point.dat"
    path.write_text("1,KZD,463000,4192000,700\n2,KZD,?,4192000,700\n", "utf-8")
    assert ingest(store, [path], Declared(crs="EPSG:4547", vertical_datum="city")).exit_code == 3
    assert rows(store, "SELECT layer, record, attributes FROM cim.quarantine") == [
        ("survey_point", "line 2", {"line": "2,KZD,?,4192000,700"})
    ]


def test_values_that_json_does_not_have_are_kept_as_nothing(store: Store) -> None:
    said = {"a": float("nan"), "text": "it says: NaN", 3: "x", "zero": "a\0b"}
    with store.connect() as connection, connection.cursor() as cursor:
        load = cursor.execute("INSERT INTO cim.load DEFAULT VALUES RETURNING load").fetchone()
        assert load
        set_aside(cursor, load[0], "f", store.city.srid, [SetAside("r", "why", None, said)])
    assert rows(store, "SELECT attributes FROM cim.quarantine") == [
        ({"a": None, "text": "it says: NaN", "3": "x", "zero": "ab"},)
    ]


def test_a_load_that_fails_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "hydrant.geojson", [({"id": "none"}, None)])
    assert ingest(store, [path], Declared()).exit_code == 1
    assert rows(store, "SELECT count(*) FROM cim.quarantine") == [(0,)]


def test_what_comes_second_under_an_id_is_kept_as_it_is(store: Store, tmp_path: Path) -> None:
    """Nothing is lost of it: its attributes and its place, to be loaded again under another id."""
    path = write(
        tmp_path / "hydrant.geojson",
        [
            ({"id": "H1", "name": "甲", "压力": 0.4}, HYDRANT),
            ({"id": "H1", "name": "乙", "压力": 0.5}, HYDRANT | {"coordinates": [113.59, 37.87]}),
            ({"id": "H1", "name": "甲", "压力": 0.4}, HYDRANT),
        ],
    )
    (report,) = ingest(store, [path], Declared()).files
    assert (report.loaded, report.unchanged, report.refused) == (1, 1, 1)
    ((attributes, x, y),) = rows(
        store,
        "SELECT attributes, ST_X(ST_Transform(geometry, 4326)), ST_Y(ST_Transform(geometry, 4326)) FROM cim.quarantine",
    )
    assert attributes == {"name": "乙", "压力": 0.5}
    assert (x, y) == (pytest.approx(113.59, abs=1e-8), pytest.approx(37.87, abs=1e-8))
