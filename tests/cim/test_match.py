"""A newer delivery of records without ids: each is known again by its place, or it is new."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.load.pipeline import ingest

GRID = "EPSG:4547"
X, Y = 500_000.0, 4_190_000.0


def deliver(store: Store, path: Path, shapes: list[Any], names: list[str], **said: Any) -> FileReport:
    frame = gpd.GeoDataFrame({"name": names}, geometry=shapes, crs=GRID)
    frame.to_file(path, driver="GeoJSON", engine="pyogrio", RFC7946="NO")
    report = ingest(store, [path], Declared.model_validate({"dataset": "d", "crs": GRID} | said))
    assert report.exit_code == 0, report.summary()
    return report.files[0]


def counts(file: FileReport) -> tuple[int, int, int, int]:
    return file.loaded, file.updated, file.unchanged, file.ended


def boxes(count: int, shift: float = 0.0) -> list[Any]:
    return [shapely.box(X + 30 * k + shift, Y, X + 30 * k + 20 + shift, Y + 10) for k in range(count)]


def lines(count: int, shift: float = 0.0) -> list[Any]:
    return [shapely.linestrings([[X, Y + 9 * k + shift], [X + 50, Y + 9 * k + shift]]) for k in range(count)]


def points(count: int, shift: float = 0.0) -> list[Any]:
    return list(shapely.points(np.c_[X + 5.0 * np.arange(count) + shift, np.full(count, Y)]))


LAYERS = [("building", boxes, 3.0, 14.0), ("road_segment", lines, 1.0, 4.0), ("hydrant", points, 0.6, 2.0)]


@pytest.mark.parametrize(("layer", "make", "near", "far"), LAYERS)
def test_a_changed_value_is_an_update(
    store: Store, tmp_path: Path, layer: str, make: Any, near: float, far: float
) -> None:
    path = tmp_path / f"{layer}.geojson"
    deliver(store, path, make(3), ["a", "b", "c"])
    again = deliver(store, path, make(3), ["a", "B", "c"])
    assert counts(again) == (0, 1, 2, 0)
    assert len(again.warned["no id: known again by its place"]) == 1


@pytest.mark.parametrize(("layer", "make", "near", "far"), LAYERS)
def test_what_moved_a_little_is_the_same(
    store: Store, tmp_path: Path, layer: str, make: Any, near: float, far: float
) -> None:
    path = tmp_path / f"{layer}.geojson"
    deliver(store, path, make(3), ["a", "b", "c"])
    assert counts(deliver(store, path, make(3, near), ["a", "b", "c"])) == (0, 3, 0, 0)


@pytest.mark.parametrize(("layer", "make", "near", "far"), LAYERS)
def test_what_moved_far_is_new(store: Store, tmp_path: Path, layer: str, make: Any, near: float, far: float) -> None:
    path = tmp_path / f"{layer}.geojson"
    deliver(store, path, make(1), ["a"])
    assert counts(deliver(store, path, make(1, far), ["a"], complete=True)) == (1, 0, 0, 1)


def test_a_history_goes_on_under_one_id(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "building.geojson"
    deliver(store, path, boxes(1), ["a"], date="2022-01-01")
    deliver(store, path, boxes(1, 2.0), ["b"], date="2023-01-01")
    deliver(store, path, boxes(1, 4.0), ["c"], date="2024-01-01", complete=True)
    with store.connect() as connection:
        rows = connection.execute(
            """SELECT count(DISTINCT id), array_agg(name ORDER BY lower(valid)) FROM twin.building
               WHERE upper_inf(recorded)"""
        ).fetchone()
    assert rows == (1, ["a", "b", "c"])


def test_of_two_at_one_place_each_finds_its_own(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "building.geojson"
    pair = [boxes(1)[0], boxes(1, 6.0)[0]]
    deliver(store, path, pair, ["a", "b"])
    deliver(store, path, pair[::-1], ["B", "A"])
    with store.connect() as connection:
        rows = connection.execute(
            "SELECT count(*), count(DISTINCT id) FROM twin.building WHERE upper_inf(recorded) AND upper_inf(valid)"
        ).fetchone()
    assert rows == (2, 2)


def test_one_of_two_halves_keeps_the_name(store: Store, tmp_path: Path) -> None:
    """A building that was cut in two: the larger part is the old one, the other is new."""
    path = tmp_path / "building.geojson"
    deliver(store, path, [shapely.box(X, Y, X + 30, Y + 10)], ["whole"])
    halves = [shapely.box(X, Y, X + 18, Y + 10), shapely.box(X + 18, Y, X + 30, Y + 10)]
    assert counts(deliver(store, path, halves, ["left", "right"])) == (1, 1, 0, 0)


def test_another_dataset_is_never_met(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "building.geojson"
    deliver(store, path, boxes(2), ["a", "b"])
    assert counts(deliver(store, path, boxes(2), ["A", "B"], dataset="e")) == (2, 0, 0, 0)


def test_a_name_of_its_own_is_never_given_up(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "building.gpkg"
    for ids in (["1", "2"], ["3", "4"]):
        frame = gpd.GeoDataFrame({"id": ids}, geometry=boxes(2), crs=GRID)
        frame.to_file(path, driver="GPKG", engine="pyogrio")
        file = ingest(store, [path], Declared(dataset="d")).files[0]
        assert counts(file) == (2, 0, 0, 0)
        path.unlink()
