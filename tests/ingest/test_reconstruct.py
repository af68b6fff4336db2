"""Stored clouds to terrain, heights and roofs: a street whose houses are known, and a real survey's own classes."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import laspy
import numpy as np
import pytest
import rasterio
import shapely

from cim.errors import NotFound
from cim.loads.undo import undo
from cim.reconstruction.ground import NOISE_CLASSES, Grid, filled, filter_ground, gridded
from cim.store.assets import asset_path
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from ingest.reconstruct import reconstruct

GRID = "EPSG:4547"
EAST, NORTH = 500_000.0, 4_190_000.0
EAVES = {"gable": 6.0, "flat": 9.0, "bare": 7.0}
HOUSES = {name: shapely.box(20 + 40 * k, 30, 40 + 40 * k, 42) for k, name in enumerate(("gable", "flat", "bare"))}


def ground(x: Any, y: Any) -> Any:
    return 700 + 0.05 * np.asarray(x) + 0.02 * np.asarray(y)


def street(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Points of a slope with a gabled house, a flat one, and one that the scanner saw hardly anything of."""
    draw = np.random.default_rng(seed)
    xy = draw.uniform((0, 0), (160, 80), (80_000, 2))
    z, code = ground(*xy.T), np.full(len(xy), 2, np.uint8)
    for name, shape in HOUSES.items():
        west, south, east, north = shape.bounds
        inside = shapely.contains_xy(shape, *xy.T)
        foot = ground([west, east], [south, south]).min()
        rise = 0.5 * np.minimum(xy[:, 1] - south, north - xy[:, 1]) if name == "gable" else 0.0
        z[inside], code[inside] = (foot + EAVES[name] + rise + np.zeros(len(xy)))[inside], 6
    seen = ~shapely.contains_xy(HOUSES["bare"], *xy.T) | (draw.uniform(size=len(xy)) < 0.02)
    noise = draw.normal(0, 0.03, len(xy))
    return np.c_[xy[:, 0] + EAST, xy[:, 1] + NORTH, z + noise][seen], code[seen]


def write_las(path: Path, xyz: np.ndarray, code: np.ndarray) -> Path:
    header = laspy.LasHeader(point_format=6, version="1.4")
    header.scales, header.offsets = np.full(3, 0.001), np.array([EAST, NORTH, 0.0])
    las = laspy.LasData(header)
    las.x, las.y, las.z = xyz.T
    las.classification = code
    las.write(path)
    return path


@pytest.fixture
def city(store: Store, tmp_path: Path) -> Store:
    """The street's footprints, one of them with its height, and the cloud."""
    shapes = [shapely.transform(s, lambda p: np.add(p, (EAST, NORTH))) for s in HOUSES.values()]
    frame = gpd.GeoDataFrame(
        {"id": list(HOUSES), "name": ["甲", "乙", "丙"], "业主": ["a", "b", "c"]}, geometry=shapes, crs=GRID
    )
    frame.to_file(tmp_path / "building.gpkg", driver="GPKG", engine="pyogrio")
    write_las(tmp_path / "cloud.laz", *street())
    said = Declared(crs=GRID, vertical_datum="city", dataset="航测")
    assert ingest(store, [tmp_path / "building.gpkg"], Declared()).exit_code == 0
    assert ingest(store, [tmp_path / "cloud.laz"], said).exit_code == 0
    return store


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    with store.connect("server") as connection:
        return connection.execute(sql.encode()).fetchall()


BUILDINGS = """SELECT id, lods, height_m, base_m, eave_height_m, ridge_height_m, roof_error_m, roof_points,
    roof_covered, extra, name FROM twin.building WHERE upper_inf(recorded) AND upper_inf(valid) ORDER BY id"""


def test_heights_and_roofs_are_those_of_the_street(city: Store) -> None:
    outcome = reconstruct(city)
    assert (outcome.buildings, outcome.measured, outcome.modelled) == (3, 2, 2)
    assert outcome.why == {"too few points on it": 1}
    bare, flat, gable = rows(city, BUILDINGS)
    assert (bare[1], bare[2]) == (None, None)
    for row, ridge in ((flat, 9.0), (gable, 9.0)):
        assert row[1] == ["1", "2"]
        assert row[3] == pytest.approx(ground(HOUSES[row[0]].bounds[0], 30.0), abs=0.15)
        assert row[5] == pytest.approx(ridge, abs=0.2)
        assert row[6] < 0.05
        assert row[7] > 1000
        assert row[8] > 0.9
        assert row[9] == {"业主": {"gable": "a", "flat": "b"}[row[0]]}
    assert gable[4] == pytest.approx(6.0, abs=0.25)
    assert gable[2] == pytest.approx(7.5, abs=0.2), "halfway between eave and ridge: GB 50016, A.0.1"
    assert rows(city, "SELECT name FROM twin.building WHERE upper_inf(recorded) AND id = 'gable'") == [("甲",)]
    closed = (
        "SELECT b.closed, b.volume FROM twin.building v JOIN cim.body b ON b.hash = v.bodies[2] WHERE v.id = 'gable'"
    )
    ((is_closed, volume),) = rows(city, closed)
    assert is_closed
    assert volume == pytest.approx(20 * 12 * 7.5, rel=0.02)


def test_the_rasters_are_the_ground_and_what_stands_on_it(city: Store) -> None:
    reconstruct(city, cell_m=0.5)
    assets = dict(
        rows(city, "SELECT layer, sha256 FROM cim.asset WHERE layer <> 'point_cloud' AND upper_inf(recorded)")
    )
    with rasterio.open(asset_path(city.settings, assets["terrain"])) as file:
        terrain, x, y = file.read(1), *file.xy(*np.indices(file.shape))
    with rasterio.open(asset_path(city.settings, assets["surface_model"])) as file:
        surface = file.read(1)
    truth = ground(np.reshape(x, terrain.shape) - EAST, np.reshape(y, terrain.shape) - NORTH)
    inner = np.s_[4:-4, 4:-4]
    assert np.isfinite(terrain[inner]).all()
    assert np.sqrt(((terrain - truth)[inner] ** 2).mean()) < 0.12, "under the houses it is filled from around"
    assert np.nanmax(surface - truth) == pytest.approx(9.0, abs=0.9)
    assert (np.nan_to_num(surface - terrain) > -0.3).all()


def test_again_changes_nothing_and_undo_takes_all_back(city: Store) -> None:
    first = reconstruct(city)
    again = reconstruct(city)
    assert (again.buildings, again.measured) == (1, 0)
    counts = [(f.loaded, f.updated, f.unchanged) for f in again.report.files]
    assert counts == [(0, 0, 1), (0, 0, 1), (0, 0, 0)]
    with city.connect() as connection, connection.cursor() as cursor:
        undo(cursor, city, first.report.load or 0)
    assert [row[1] for row in rows(city, BUILDINGS)] == [None, None, None]
    assert rows(city, "SELECT count(*) FROM cim.asset WHERE layer = 'terrain' AND upper_inf(recorded)") == [(0,)]


def test_the_same_footprints_again_leave_the_roofs(city: Store, tmp_path: Path) -> None:
    """What was derived from a delivery isn't undone by that delivery; a changed one is a new version."""
    reconstruct(city)
    again = ingest(city, [tmp_path / "building.gpkg"], Declared()).files[0]
    assert (again.loaded, again.updated, again.unchanged) == (0, 0, 3)
    assert [row[1] for row in rows(city, BUILDINGS)] == [None, ["1", "2"], ["1", "2"]]
    frame = gpd.read_file(tmp_path / "building.gpkg", engine="pyogrio")
    frame.loc[frame["id"] == "flat", "name"] = "新"
    (tmp_path / "building.gpkg").unlink()
    frame.to_file(tmp_path / "building.gpkg", driver="GPKG", engine="pyogrio")
    changed = ingest(city, [tmp_path / "building.gpkg"], Declared()).files[0]
    assert (changed.updated, changed.unchanged) == (1, 2)
    assert reconstruct(city).modelled == 1


def test_where_nobody_classified_the_ground_is_found(store: Store, tmp_path: Path) -> None:
    xyz, code = street()
    write_las(tmp_path / "cloud.laz", xyz, np.ones_like(code))
    frame = gpd.GeoDataFrame(
        {"id": list(HOUSES)},
        geometry=[shapely.transform(s, lambda p: np.add(p, (EAST, NORTH))) for s in HOUSES.values()],
        crs=GRID,
    )
    frame.to_file(tmp_path / "building.gpkg", driver="GPKG", engine="pyogrio")
    ingest(store, [tmp_path / "building.gpkg"], Declared())
    ingest(store, [tmp_path / "cloud.laz"], Declared(crs=GRID, vertical_datum="city"))
    assert reconstruct(store).modelled == 2
    found = {row[0]: row for row in rows(store, BUILDINGS)}
    assert found["gable"][5] == pytest.approx(9.0, abs=0.25)


def test_small_blocks_give_the_same(city: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However the cloud is cut, every building is measured once, and the rasters have no seam."""
    monkeypatch.setattr("ingest.reconstruct.POINTS_A_BLOCK", 8_000)
    monkeypatch.setattr("ingest.reconstruct.SMALLEST_BLOCK_M", 25.0)
    outcome = reconstruct(city)
    assert (outcome.measured, outcome.modelled) == (2, 2)
    found = {row[0]: row for row in rows(city, BUILDINGS)}
    assert found["gable"][5] == pytest.approx(9.0, abs=0.2)
    ((sha256,),) = rows(city, "SELECT sha256 FROM cim.asset WHERE layer = 'terrain'")
    with rasterio.open(asset_path(city.settings, sha256)) as file:
        terrain, x, y = file.read(1), *file.xy(*np.indices(file.shape))
    truth = ground(np.reshape(x, terrain.shape) - EAST, np.reshape(y, terrain.shape) - NORTH)
    assert np.isfinite(terrain[2:-2, 2:-2]).all()
    assert np.abs(np.diff((terrain - truth)[4:-4, 4:-4], axis=1)).max() < 0.5


def test_a_cloud_that_is_not_there_is_named(store: Store) -> None:
    with pytest.raises(NotFound, match="no cloud is stored"):
        reconstruct(store)
    with pytest.raises(NotFound, match="no cloud nowhere"):
        reconstruct(store, ["nowhere"])


def test_the_filter_agrees_with_a_national_survey(shared_data: Path) -> None:
    """The classes of the French survey (LiDAR HD) against what the filter finds from the places alone."""
    las = laspy.read(shared_data / "france_lidarhd/lidar_2154_south.laz")
    code = np.asarray(las.classification)
    keep = ~np.isin(code, NOISE_CLASSES)
    points, code = np.c_[las.x, las.y, las.z][keep], code[keep]
    found = filter_ground(points)
    assert (found != (code == 2)).mean() < 0.02
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    grid = Grid.over((low[0], low[1], high[0], high[1]), 1.0)
    theirs, ours = (filled(gridded(points[mask], grid, "mean")) for mask in (code == 2, found))
    assert np.sqrt(((ours - theirs) ** 2).mean()) < 0.05
