"""City models into the store: real files with known counts, and files made to hurt."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from cim.errors import UnreadableFile
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import DELFT, ZURICH, MakeStore
from tests.factory import EAST, NORTH, cityjson, write_cityjson, write_cityjsonseq

CITY_HEIGHTS = Declared(vertical_datum="city")


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with store.connect("server") as connection:
        return connection.execute(sql.encode()).fetchall()


def test_zurich_is_49_buildings_and_161_parts(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(ZURICH)
    path = shared_data / "cityjson_zurich/zurich_subset_lod2.json"
    report = ingest(store, [path], CITY_HEIGHTS)
    assert (report.exit_code, report.files[0].read, report.files[0].loaded) == (0, 210, 210)
    counted = "SELECT count(*) FILTER (WHERE parent_id IS NULL), count(*) FILTER (WHERE parent_id IS NOT NULL)"
    assert rows(store, f"{counted} FROM twin.building") == [(49, 161)]
    assert len(report.files[0].warned["open surface: loaded with closed = false"]) == 156
    again = ingest(store, [path], CITY_HEIGHTS)
    assert (again.files[0].unchanged, again.files[0].loaded, again.files[0].updated) == (210, 0, 0)
    assert rows(store, "SELECT count(*) FROM cim.outbox") == [(210,)]


def test_delft_is_570_objects_of_which_160_buildings(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(DELFT)
    report = ingest(store, [shared_data / "cityjson_delft3dbag/delft.json"], Declared())
    assert (report.files[0].read, report.files[0].loaded) == (570, 570)
    assert report.files[0].vertical_datum == "EPSG:5709"
    assert rows(store, "SELECT count(*) FROM twin.building") == [(160,)]
    assert rows(store, "SELECT count(*) FROM twin.city_object WHERE object_class = 'Road'") == [(143,)]
    assert rows(store, "SELECT count(*) FROM twin.water") == [(3,)]


def test_3dbag_sequence_is_104_rows_and_208_bodies(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(DELFT)
    report = ingest(store, [shared_data / "cityjsonseq_3dbag/tile_901_trimmed.jsonl"], Declared())
    assert report.files[0].loaded == 104
    assert rows(store, "SELECT sum(cardinality(bodies)) FROM twin.building") == [(208,)]
    lods = rows(store, "SELECT DISTINCT lods FROM twin.building ORDER BY 1")
    assert lods == [(["0"],), (["1.2", "1.3", "2.2"],)]


def test_a_document_and_a_sequence_of_it_are_the_same_content(store: Store, tmp_path: Path) -> None:
    objects = {
        f"B{i}": {"box": (EAST + 40 * i, NORTH, 700, 20, 10 + i, 9), "attributes": {"name": f"{i}号楼"}}
        for i in range(5)
    }
    first = ingest(store, [write_cityjson(tmp_path / "one.city.json", objects)], CITY_HEIGHTS)
    second = ingest(store, [write_cityjsonseq(tmp_path / "other.city.jsonl", objects)], CITY_HEIGHTS)
    assert first.files[0].loaded == 5
    assert second.files[0].unchanged == 5
    assert rows(store, "SELECT count(*) FROM cim.body") == [(5,)]
    assert rows(store, "SELECT name FROM twin.building ORDER BY id LIMIT 1") == [("0号楼",)]


def test_one_bad_building_is_set_aside_and_the_rest_goes_in(store: Store, tmp_path: Path) -> None:
    document = cityjson({f"V{i}": {"box": (EAST + 40 * i, NORTH, 700, 20, 10, 9)} for i in (1, 2, 3, 4)})
    document["CityObjects"]["V2"]["geometry"][0]["boundaries"][0][0][0][0] = 9999
    document["vertices"][16] = [float("nan"), 0, 0]
    path = tmp_path / "building.city.json"
    path.write_text(json.dumps(document))
    report = ingest(store, [path], CITY_HEIGHTS)
    assert report.exit_code == 3
    file = report.files[0]
    assert (file.read, file.loaded, file.refused) == (4, 2, 2)
    assert rows(store, "SELECT id FROM twin.building ORDER BY id") == [("V1",), ("V4",)]
    assert "9999" in report.summary()
    assert any("NaN" in reason for reason in file.reasons)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "zero bytes"),
        (json.dumps(cityjson({"A": {"box": (EAST, NORTH, 0, 9, 9, 9)}})).encode()[:-40], "cut short"),
        (b'{"type": "FeatureCollection"}', "FeatureCollection"),
        (json.dumps(cityjson({}) | {"transform": {"scale": [1, 0, 1], "translate": [0, 0, 0]}}).encode(), "scale"),
    ],
)
def test_a_file_that_cannot_be_read_leaves_nothing(store: Store, tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "building.city.json"
    path.write_bytes(content)
    report = ingest(store, [path], CITY_HEIGHTS)
    assert report.exit_code == 1
    assert says in report.summary()
    assert rows(store, "SELECT (SELECT count(*) FROM twin.building) + (SELECT count(*) FROM cim.load)") == [(0,)]


def test_another_city_is_refused_with_the_place_where_it_would_land(store: Store, shared_data: Path) -> None:
    report = ingest(store, [shared_data / "cityjson_zurich/zurich_subset_lod2.json"], CITY_HEIGHTS)
    assert report.exit_code == 1
    assert "longitude 8.47" in report.summary()


def test_heights_without_a_datum_are_an_error_that_names_the_option(store: Store, tmp_path: Path) -> None:
    path = write_cityjson(tmp_path / "b.city.json", {"T1": {"box": (EAST, NORTH, 700, 20, 20, 30)}})
    report = ingest(store, [path], Declared())
    assert report.exit_code == 1
    assert "vertical datum" in report.summary()


def test_ellipsoidal_heights_lose_the_anomaly(store: Store, tmp_path: Path) -> None:
    path = write_cityjson(tmp_path / "b.city.json", {"T1": {"box": (EAST, NORTH, 700, 20, 20, 30)}})
    ingest(store, [path], Declared(vertical_datum="ellipsoidal"))
    assert rows(store, "SELECT round(z_min::numeric, 3), round(z_max::numeric, 3) FROM cim.body") == [
        (Decimal("715.1"), Decimal("745.1"))
    ]


def test_no_such_file_is_said(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="no such file"):
        ingest(store, [tmp_path / "nowhere.city.json"], Declared())
