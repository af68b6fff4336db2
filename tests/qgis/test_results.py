"""QGIS opens what an analysis gave by its job's address: rows as a collection, a raster as a raster."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from pyproj import CRS

from cim.analysis.engine.inputs import RasterWindow
from tests.conftest import Served
from tests.example.results import computed_of, finished, squares
from tests.factory import EAST, NORTH

PYTHON = Path("/usr/bin/python3")
PROBE = Path(__file__).with_name("results.py")
pytestmark = pytest.mark.client
COUNT = 23


@pytest.fixture(scope="module")
def rows(sample_city: Served) -> gpd.GeoDataFrame:
    return squares(COUNT, sample_city.store.city.srid)


@pytest.fixture(scope="module")
def raster(sample_city: Served) -> RasterWindow:
    cells = np.arange(600.0).reshape(20, 30)
    cells[3:5, 4:9] = np.nan
    return RasterWindow(cells, Affine(5, 0, EAST, 0, -5, NORTH), CRS.from_epsg(sample_city.store.city.srid))


@pytest.fixture(scope="module")
def box(rows: gpd.GeoDataFrame) -> tuple[float, float, float, float]:
    west, south, east, north = rows.to_crs(4326).total_bounds
    return float(west), float(south), float((west + east) / 2), float((south + north) / 2)


@pytest.fixture(scope="module")
def seen(
    sample_city: Served, rows: gpd.GeoDataFrame, raster: RasterWindow, box: tuple[float, ...],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:  # fmt: skip
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    check = subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False, env=environment)
    if check.returncode:
        pytest.skip("QGIS isn't installed: apt-get install qgis python3-qgis qgis-providers")
    folder = tmp_path_factory.mktemp("qgis-results")
    folder.chmod(0o700)
    results = (computed_of(rows), computed_of(rows.assign(id="twin")), computed_of(rows, raster=raster))
    of_rows, of_twins, of_raster = (
        f"{sample_city.url}/ogc/jobs/{finished(sample_city.store, result)}" for result in results
    )
    environment |= {"QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    command = [PYTHON, PROBE, of_rows, of_twins, f"{of_raster}/results.tif", ",".join(map(str, box))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.split("FOUND", 1)[1])
    return found


def test_every_row_comes_once_with_its_geometry_and_values(seen: dict[str, Any], rows: gpd.GeoDataFrame) -> None:
    assert seen["count"] == seen["twins"] == COUNT
    assert seen["rows"].keys() == set(rows["id"])
    assert {name: kind[:4] for name, kind in seen["fields"].items() if name in ("id", "name", "people", "share")} == {
        "id": "Stri", "name": "Stri", "people": "Inte", "share": "Real",
    }  # fmt: skip
    for row, shape in zip(rows.to_dict("records"), rows.to_crs(4326).geometry, strict=True):
        wkt, values = seen["rows"][row["id"]]
        assert values["people"] == row["people"]
        assert values["name"] == ("NULL" if pd.isna(row["name"]) else row["name"])
        if shape is None:
            assert shapely.from_wkt(wkt or "POLYGON EMPTY").is_empty
        else:
            assert shapely.hausdorff_distance(shapely.from_wkt(wkt), shape) < 2e-9


def test_a_box_holds_the_rows_that_meet_it(
    seen: dict[str, Any], rows: gpd.GeoDataFrame, box: tuple[float, float, float, float]
) -> None:
    expected = sorted(rows["id"][rows.to_crs(4326).intersects(shapely.box(*box))])
    assert seen["in box"] == expected
    assert 0 < len(expected) < COUNT


def test_a_raster_is_read_in_place(seen: dict[str, Any], raster: RasterWindow, sample_city: Served) -> None:
    assert seen["raster crs"] == f"EPSG:{sample_city.store.city.srid}"
    assert seen["raster size"] == [30, 20]
    told = raster.cells[~raster.void]
    expected = [told.min(), told.max(), told.mean(), told.std()]
    np.testing.assert_allclose(seen["raster statistics"], expected)
