"""Several sheets of a raster are one: where they overlap the finest answers, of equals the newest."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from cim.errors import NotFound
from cim.read.terrain import ground_of
from cim.store.connection import Store
from cim.write.export import Extract, export
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.factory import write_terrain

WEST, SOUTH = 500_000.0, 4_190_000.0


def sheet(
    path: Path, height: float, box: tuple[float, float, float, float], cell: float, crs: str = "EPSG:4547"
) -> Path:
    west, south, east, north = (WEST + box[0], SOUTH + box[1], WEST + box[2], SOUTH + box[3])
    shape = round((north - south) / cell), round((east - west) / cell)
    if crs != "EPSG:4547":
        west, south, east, north = transform_bounds("EPSG:4547", crs, west, south, east, north)
    return write_terrain(path, np.full(shape, height), (west, south, east, north), crs)


def load(store: Store, path: Path, day: str | None = None) -> None:
    said = Declared(layer="terrain", vertical_datum="city", date=date.fromisoformat(day) if day else None)
    assert ingest(store, [path], said).exit_code == 0


def mosaic(store: Store, path: Path) -> tuple[int, rasterio.DatasetReader]:
    with store.connect() as connection, connection.cursor() as cursor:
        count = export(cursor, store, Extract(store.catalog.layer("terrain")), path)
    return count, rasterio.open(path)


def at(file: rasterio.DatasetReader, x: float, y: float) -> float:
    return float(next(file.sample([(WEST + x, SOUTH + y)]))[0])


def ground(store: Store, x: float, y: float) -> float:
    with store.connect() as connection, connection.cursor() as cursor:
        return float(ground_of(cursor, store)(np.array([WEST + x]), np.array([SOUTH + y]))[0])


def test_sheets_beside_each_other_are_one(store: Store, tmp_path: Path) -> None:
    for k in range(3):
        load(store, sheet(tmp_path / f"s{k}.tif", 700.0 + k, (100 * k, 0, 100 * k + 120, 100), 5.0))
    count, file = mosaic(store, tmp_path / "all.tif")
    with file:
        assert count == 3
        assert file.bounds.right - file.bounds.left == pytest.approx(320)
        assert [at(file, x, 50) for x in (50, 160, 300)] == [700, 701, 702]
    assert ground(store, 50, 50) == 700
    assert ground(store, 300, 50) == 702


def test_the_finest_answers_then_the_newest(store: Store, tmp_path: Path) -> None:
    load(store, sheet(tmp_path / "coarse.tif", 690.0, (0, 0, 400, 400), 20.0), "2024-01-01")
    load(store, sheet(tmp_path / "old.tif", 700.0, (100, 100, 200, 200), 5.0), "2020-01-01")
    load(store, sheet(tmp_path / "new.tif", 701.0, (150, 100, 250, 200), 5.0), "2023-01-01")
    _, file = mosaic(store, tmp_path / "all.tif")
    with file:
        assert [at(file, x, 150) for x in (20, 120, 180, 240, 300)] == [690, 700, 701, 701, 690]
    assert [ground(store, x, 150) for x in (50, 120, 180, 235, 300)] == [690, 700, 701, 701, 690]


def test_a_sheet_in_another_system_is_not_lost(store: Store, tmp_path: Path) -> None:
    load(store, sheet(tmp_path / "plane.tif", 700.0, (0, 0, 100, 100), 5.0))
    load(store, sheet(tmp_path / "degrees.tif", 705.0, (90, 0, 300, 100), 10.0, "EPSG:4490"))
    count, file = mosaic(store, tmp_path / "all.tif")
    with file:
        assert count == 2
        assert at(file, 50, 50) == 700
        assert at(file, 250, 50) == pytest.approx(705, abs=1e-3)


def test_without_a_sheet_there_is_nothing_to_export(store: Store, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        mosaic(store, tmp_path / "all.tif")
