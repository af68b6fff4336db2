"""Heights of a dataset: its own anomaly, constant or a grid, and its own unit; the report says what was done."""

from pathlib import Path

import laspy
import numpy as np
import pytest
import rasterio

from cim.store.assets import asset_path
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.load.pipeline import ingest
from tests.factory import write_terrain

GRID = "EPSG:4547"
X, Y = 500_000.0, 4_190_000.0


def load(store: Store, path: Path, toml: str) -> FileReport:
    (path.parent / "dataset.toml").write_text(f'crs = "{GRID}"\n{toml}', "utf-8")
    report = ingest(store, [path], Declared())
    assert report.exit_code == 0, report.summary()
    return report.files[0]


def point(store: Store, folder: Path, toml: str) -> tuple[float, FileReport]:
    (folder / "control_point.csv").write_text(f"id,x,y,z\na,{X},{Y},1000\n", "utf-8")
    file = load(store, folder / "control_point.csv", toml)
    with store.connect() as connection:
        row = connection.execute("SELECT ST_Z(geom) FROM twin.control_point").fetchone()
    assert row is not None
    return float(row[0]), file


def test_the_citys_own_heights_stay(store: Store, tmp_path: Path) -> None:
    z, file = point(store, tmp_path, 'vertical_datum = "city"')
    assert (z, file.heights) == (1000.0, "heights as they are")


def test_without_a_word_the_citys_anomaly_is_taken(store: Store, tmp_path: Path) -> None:
    z, file = point(store, tmp_path, 'vertical_datum = "ellipsoidal"')
    assert z == pytest.approx(1000 - store.city.height_anomaly_m)
    assert file.heights == f"minus height anomaly ({store.city.height_anomaly_m:g} m)"


def test_a_dataset_has_its_own_constant(store: Store, tmp_path: Path) -> None:
    z, file = point(store, tmp_path, 'vertical_datum = "ellipsoidal"\nheight_anomaly_m = -16.25')
    assert (z, file.heights) == (1016.25, "minus height anomaly (-16.25 m)")


def test_a_dataset_has_its_own_grid_beside_it(store: Store, tmp_path: Path) -> None:
    slope = np.add.outer(np.zeros(9), np.linspace(-20, -12, 9))
    (tmp_path / "geoid").mkdir()
    write_terrain(tmp_path / "geoid" / "zeta.tif", slope, (X - 4500, Y - 4500, X + 4500, Y + 4500), GRID)
    z, file = point(store, tmp_path, 'vertical_datum = "ellipsoidal"\nheight_anomaly_grid = "geoid/zeta.tif"')
    assert z == pytest.approx(1016.0, abs=1e-3)
    assert file.heights == "minus height anomaly (the grid zeta.tif)"


def test_a_grid_that_is_not_there_is_said(store: Store, tmp_path: Path) -> None:
    (tmp_path / "control_point.csv").write_text(f"id,x,y,z\na,{X},{Y},1000\n", "utf-8")
    (tmp_path / "dataset.toml").write_text(
        f'crs = "{GRID}"\nvertical_datum = "ellipsoidal"\nheight_anomaly_grid = "zeta.tif"', "utf-8"
    )
    report = ingest(store, [tmp_path / "control_point.csv"], Declared())
    assert report.exit_code == 1
    assert "no such grid" in (report.files[0].error or "")


def test_feet_are_declared_for_points(store: Store, tmp_path: Path) -> None:
    z, _ = point(store, tmp_path, 'vertical_datum = "city"\nz_unit_m = 0.3048')
    assert z == pytest.approx(304.8)


def test_feet_are_declared_for_a_raster(store: Store, tmp_path: Path) -> None:
    path = write_terrain(tmp_path / "terrain.tif", np.full((4, 4), 1000.0), (X, Y, X + 40, Y + 40), GRID)
    file = load(store, path, 'vertical_datum = "ellipsoidal"\nz_unit_m = 0.3048\nheight_anomaly_m = -10')
    assert file.heights == "minus height anomaly (-10 m)"
    with store.connect() as connection:
        row = connection.execute("SELECT sha256 FROM cim.asset").fetchone()
    assert row is not None
    with rasterio.open(asset_path(store.settings, row[0])) as raster:
        assert raster.read(1) == pytest.approx(np.full((4, 4), 314.8))


def test_feet_are_declared_for_a_cloud(store: Store, tmp_path: Path) -> None:
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = np.full(3, 0.001), np.array([X, Y, 0.0])
    las = laspy.LasData(header)
    las.x, las.y, las.z = np.array([X, X + 1]), np.array([Y, Y + 1]), np.array([1000.0, 2000.0])
    las.write(tmp_path / "cloud.laz")
    file = load(store, tmp_path / "cloud.laz", 'vertical_datum = "city"\nz_unit_m = 0.3048')
    assert file.heights == "heights as they are"
    with store.connect() as connection:
        row = connection.execute("SELECT about->'z' FROM cim.asset").fetchone()
    assert row is not None
    assert row[0] == [304.8, 609.6]


def test_a_crs_file_beside_a_dataset_is_found(store: Store, tmp_path: Path) -> None:
    (tmp_path / "local.toml").write_text('name = "own"\nto = "EPSG:4547"\ndx = 400000.0\ndy = 4100000.0\n', "utf-8")
    (tmp_path / "hydrant.csv").write_text("id,x,y\na,100000,90000\n", "utf-8")
    (tmp_path / "dataset.toml").write_text('crs = "local.toml"\n', "utf-8")
    report = ingest(store, [tmp_path], Declared())
    assert report.exit_code == 0, report.summary()
    with store.connect() as connection:
        row = connection.execute("SELECT ST_X(geom), ST_Y(geom) FROM twin.hydrant").fetchone()
    assert row == (pytest.approx(X, abs=1e-3), pytest.approx(Y, abs=1e-3))
