"""`cim diff`: what a later delivery added, removed and changed, by attribute and by shape."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pyogrio
import pytest

from cim.errors import BadRequest
from cim.read.diff import difference, write_difference
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.cim.test_history import deliver


def write_points(path: Path, said: dict[str, tuple[float, str]]) -> Path:
    features = [
        {
            "type": "Feature",
            "properties": {"id": i, "name": name},
            "geometry": {"type": "Point", "coordinates": [x, 37.86]},
        }
        for i, (x, name) in said.items()
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")
    return path


def day(year: int) -> datetime:
    return datetime(year, 6, 1, tzinfo=UTC)


@pytest.fixture
def two_deliveries(store: Store, tmp_path: Path) -> Store:
    first = {"same": (113.58, "a"), "renamed": (113.58, "a"), "moved": (113.58, "a"), "gone": (113.58, "a")}
    second = {"same": (113.58, "a"), "renamed": (113.58, "b"), "moved": (113.59, "a"), "new": (113.58, "a")}
    for year, said in ((2020, first), (2023, second)):
        declared = Declared.model_validate({"dataset": "s", "date": f"{year}-01-01", "complete": True})
        assert ingest(store, [write_points(tmp_path / "hydrant.geojson", said)], declared).exit_code == 0
    return store


def test_each_kind_of_difference_is_told_apart(two_deliveries: Store) -> None:
    store = two_deliveries
    with store.connect() as connection, connection.cursor() as cursor:
        found = difference(cursor, store.catalog.layers["hydrant"], day(2021), day(2024), store.city.srid)
    assert {kind: list(frame["id"]) for kind, frame in found.frames.items()} == {
        "added": ["new"], "removed": ["gone"], "changed": ["moved", "renamed"],
    }  # fmt: skip
    changed = found.frames["changed"].set_index("id")
    assert changed["changed_shape"].to_dict() == {"moved": True, "renamed": False}
    assert changed["changed_fields"].to_dict() == {"moved": "", "renamed": "name"}
    assert changed.loc["renamed", "name"] == "b"
    summary = found.summary()
    assert (summary["added"], summary["removed"], summary["changed"], summary["unchanged"]) == (1, 1, 2, 1)
    assert (summary["changed_shape"], summary["changed_fields"]) == (1, {"name": 1})


def test_it_is_written_as_a_geopackage_with_a_layer_for_each_kind(two_deliveries: Store, tmp_path: Path) -> None:
    store, path = two_deliveries, tmp_path / "diff.gpkg"
    with store.connect() as connection, connection.cursor() as cursor:
        found = difference(cursor, store.catalog.layers["hydrant"], day(2021), day(2024), store.city.srid)
    for _ in range(2):
        write_difference(found, path)
    assert sorted(name for name, _ in pyogrio.list_layers(path)) == ["added", "changed", "removed"]
    changed = pyogrio.read_dataframe(path, layer="changed")
    assert changed.crs.to_epsg() == store.city.srid
    assert sorted(changed["id"]) == ["moved", "renamed"]
    with pytest.raises(BadRequest, match=r"\.gpkg"):
        write_difference(found, tmp_path / "diff.shp")


def test_a_body_that_grew_is_a_change_of_shape(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path, {"A": 9, "B": 9}, 2019)
    deliver(store, tmp_path, {"A": 12, "B": 9}, 2023)
    with store.connect() as connection, connection.cursor() as cursor:
        found = difference(cursor, store.catalog.layers["building"], day(2020), day(2024), store.city.srid)
        before = difference(cursor, store.catalog.layers["building"], day(2018), day(2020), store.city.srid)
    assert list(found.frames["changed"]["id"]) == ["A"]
    assert found.frames["changed"]["changed_shape"].tolist() == [True]
    assert list(before.frames["added"]["id"]) == ["A", "B"]


def test_no_difference_has_empty_layers_that_can_be_written(two_deliveries: Store, tmp_path: Path) -> None:
    store = two_deliveries
    with store.connect() as connection, connection.cursor() as cursor:
        found = difference(cursor, store.catalog.layers["hydrant"], day(2024), day(2025), store.city.srid)
        with pytest.raises(BadRequest, match="before"):
            difference(cursor, store.catalog.layers["hydrant"], day(2025), day(2024), store.city.srid)
        with pytest.raises(BadRequest, match="no versions"):
            difference(cursor, store.catalog.layers["terrain"], day(2024), day(2025), store.city.srid)
    write_difference(found, tmp_path / "diff.gpkg")
    assert len(pyogrio.list_layers(tmp_path / "diff.gpkg")) == 3
