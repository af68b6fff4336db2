"""Several sheets of a raster are one: where they overlap the finest answers, of equals the newest."""

import itertools
import random
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform_bounds

from cim.city import Extent
from cim.errors import BadRequest, NotFound, TooLarge, UnknownCrs
from cim.read.terrain import ground_of
from cim.store.connection import Store
from cim.write.export import Extract, export
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import peak_mb
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


def cut(store: Store, path: Path, **asked: Any) -> rasterio.DatasetReader:
    with store.connect() as connection, connection.cursor() as cursor:
        export(cursor, store, Extract(store.catalog.layer("terrain"), **asked), path)
    return rasterio.open(path)


def in_degrees(xmin: float, ymin: float, xmax: float, ymax: float) -> Extent:
    west, south, east, north = transform_bounds(
        "EPSG:4547", "EPSG:4490", WEST + xmin, SOUTH + ymin, WEST + xmax, SOUTH + ymax
    )
    return west, south, east, north


def test_a_box_gives_the_cells_that_it_touches_as_they_are(store: Store, tmp_path: Path) -> None:
    heights = np.random.default_rng(5).normal(700, 9, (80, 100)).astype(np.float32)
    bounds = (WEST, SOUTH, WEST + 500, SOUTH + 400)
    load(store, write_terrain(tmp_path / "sheet.tif", heights, bounds, "EPSG:4547"))
    with cut(store, tmp_path / "box.tif", bbox=in_degrees(103, 57, 308, 213)) as file:
        row, column = round((bounds[3] - file.bounds.top) / 5), round((file.bounds.left - bounds[0]) / 5)
        assert (file.bounds.left - WEST) % 5 == pytest.approx(0, abs=1e-6)
        assert file.bounds.left - WEST <= 103
        assert file.bounds.right - WEST >= 308
        assert file.bounds.bottom - SOUTH <= 57
        assert file.bounds.top - SOUTH >= 213
        assert file.width * file.height < 1.2 * (308 - 103) * (213 - 57) / 25 + 200
        assert np.array_equal(file.read(1), heights[row : row + file.height, column : column + file.width])


NUMBERS = (0.0, 1.0, -1.0, 1e9, -1e300, 1e300, float("nan"), float("inf"), float("-inf"), 113.5, 37.85, 180.0, -90.0)


def test_what_a_box_costs_is_bounded_by_the_sheets(store: Store, tmp_path: Path) -> None:
    for k in (0, 300):
        load(store, sheet(tmp_path / f"s{k}.tif", 700.0, (k, 0, k + 100, 100), 5.0))
    west, south, east, north = in_degrees(0, 0, 400, 100)
    sides = [(-180.0, west, *NUMBERS), (-90.0, south, *NUMBERS), (180.0, east, *NUMBERS), (90.0, north, *NUMBERS)]
    one_side = [tuple(s[i if k == side else 1] for k, s in enumerate(sides)) for side in range(4) for i in range(15)]
    wild = random.Random(3).sample(list(itertools.product(NUMBERS, repeat=4)), 40)
    answered = 0
    for n, bbox in enumerate([(0.0, 0.0, 1.0, 1.0), (-180.0, -90.0, 180.0, 90.0), *one_side, *wild]):
        for crs in (None, "EPSG:4326") if n % 5 == 0 else (None,):
            try:
                with cut(store, tmp_path / "box.tif", bbox=bbox, crs=crs) as file:
                    answered += 1
                    assert file.width * file.height <= 2 * 82 * 22, (bbox, crs)
            except (BadRequest, NotFound):
                continue
    assert answered > 5
    with pytest.raises(NotFound, match="box"):
        cut(store, tmp_path / "box.tif", bbox=(0.0, 0.0, 1.0, 1.0))
    with cut(store, tmp_path / "box.tif", bbox=(-180.0, -90.0, 180.0, 90.0)) as file:
        assert (file.width, file.height) == (80, 20)
    with pytest.raises(TooLarge, match=r"80 × 20 cells.*bbox.*cim export"):
        cut(store, tmp_path / "box.tif", most_bytes=80 * 20 * 4 - 1)


def test_a_mosaic_in_another_system_lies_where_it_lay(store: Store, tmp_path: Path) -> None:
    load(store, sheet(tmp_path / "plane.tif", 700.0, (0, 0, 100, 100), 5.0))
    with cut(store, tmp_path / "degrees.tif", crs="EPSG:4326") as file:
        west, south, east, north = in_degrees(20, 20, 80, 80)
        assert file.crs.to_epsg() == 4326
        assert file.bounds.left < west < east < file.bounds.right
        assert [float(v[0]) for v in file.sample([(west, south), (east, north)])] == [700, 700]
    for nowhere in ("EPSG:5773", "EPSG:0", "nonsense"):
        with pytest.raises((BadRequest, UnknownCrs)):
            cut(store, tmp_path / "nowhere.tif", crs=nowhere)


def test_a_mosaic_is_written_within_bounded_memory(store: Store, tmp_path: Path) -> None:
    """Two small sheets far apart: 64 million cells between them, 257 MB."""
    load(store, sheet(tmp_path / "a.tif", 700.0, (0, 0, 100, 100), 5.0))
    load(store, sheet(tmp_path / "b.tif", 701.0, (40_000, 40_000, 40_100, 40_100), 5.0))
    with cut(store, tmp_path / "small.tif", bbox=in_degrees(0, 0, 100, 100)):  # what is imported once doesn't count
        before = peak_mb(Path("/proc/self"), anew=True)
    with cut(store, tmp_path / "all.tif") as file:
        assert file.width * file.height > 60_000_000
        assert peak_mb(Path("/proc/self")) - before < 150
        assert [at(file, 50, 50), at(file, 40_050, 40_050)] == [700, 701]
        assert np.isnan(at(file, 20_000, 20_000))
