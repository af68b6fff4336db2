"""Point clouds: nothing lost on the way into the store, feet, extra dimensions, and files that are cut short."""

import shutil
from pathlib import Path

import laspy
import numpy as np
import pytest
from pyproj import CRS, Transformer

from cim.city import City
from cim.store.assets import asset_path
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore

OREGON = City(name="Eugene", srid=2993, vertical_datum="EPSG:5703", extent=(-123.3, 43.9, -122.9, 44.2))
FRANCE = City(name="Tours", srid=2154, vertical_datum="EPSG:5720", extent=(0.0, 46.5, 0.6, 47.2))
EAST, NORTH = 463_000.0, 4_192_000.0


def stored(store: Store) -> laspy.LasData:
    with store.connect() as connection:
        row = connection.execute("SELECT sha256 FROM cim.asset WHERE upper_inf(recorded)").fetchone()
    assert row
    return laspy.read(asset_path(store.settings, row[0]))


def write_cloud(path: Path, points: np.ndarray, *, crs: str | None = "EPSG:4547", point_format: int = 6) -> Path:
    header = laspy.LasHeader(point_format=point_format, version="1.4" if point_format > 5 else "1.3")
    header.scales, header.offsets = np.full(3, 0.001), np.array([EAST, NORTH, 0.0])
    if crs:
        header.add_crs(CRS.from_user_input(crs))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = points.T
    cloud.classification = np.arange(len(points)) % 3
    cloud.intensity = np.arange(len(points)) % 60_000
    cloud.write(path)
    return path


@pytest.fixture
def points() -> np.ndarray:
    random = np.random.default_rng(7)
    return np.round(random.uniform([EAST, NORTH, 680], [EAST + 200, NORTH + 100, 720], (5_000, 3)), 3)


@pytest.mark.parametrize("point_format", range(11))
def test_every_point_format_keeps_each_point_and_dimension(
    store: Store, tmp_path: Path, points: np.ndarray, point_format: int
) -> None:
    path = write_cloud(tmp_path / "point_cloud.las", points[:50], point_format=point_format)
    assert ingest(store, [path], Declared(vertical_datum="city")).exit_code == 0
    source, kept = laspy.read(path), stored(store)
    assert kept.point_format.id == point_format
    for name in source.point_format.dimension_names:
        assert np.array_equal(source[name], kept[name]), name
    assert np.array_equal(kept.xyz, source.xyz)


def test_ellipsoidal_heights_lose_the_anomaly_and_nothing_else_moves(
    store: Store, tmp_path: Path, points: np.ndarray
) -> None:
    path = write_cloud(tmp_path / "point_cloud.las", points)
    assert ingest(store, [path], Declared(vertical_datum="ellipsoidal")).exit_code == 0
    moved = stored(store).xyz - points
    assert np.abs(moved - [0, 0, 15.1]).max() < 1e-4


def test_the_same_cloud_again_changes_nothing_and_another_is_a_new_version(
    store: Store, tmp_path: Path, points: np.ndarray
) -> None:
    said = Declared(vertical_datum="city")
    path = write_cloud(tmp_path / "point_cloud.laz", points)
    assert ingest(store, [path], said).files[0].loaded == 5_000
    assert ingest(store, [path], said).files[0].unchanged == 5_000
    assert ingest(store, [write_cloud(path, points[:4_000])], said).files[0].updated == 4_000
    assert len(stored(store).points) == 4_000


def test_autzen_in_feet_lies_in_oregon_in_metres(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(OREGON)
    path = shared_data / "autzen_laz/autzen_stadium.laz"
    file = ingest(store, [path], Declared(vertical_datum="city")).files[0]
    assert (file.read, file.loaded, file.refused) == (1_616_927, 1_616_927, 0), file
    assert any("0.3048" in warning for warning in file.warned)
    source, kept = laspy.read(path), stored(store)
    assert len(kept.points) == 1_616_927
    assert np.array_equal(source.red, kept.red)
    assert np.abs(kept.z - source.z * 0.3048).max() < 1e-4
    lon, lat = Transformer.from_crs(2993, 4152, always_xy=True).transform(
        np.mean(kept.xyz[:, 0]), np.mean(kept.xyz[:, 1])
    )
    assert (lon, lat) == pytest.approx((-123.068, 44.058), abs=0.01)  # Autzen Stadium
    # distances are those of the ground: 1,600 feet across, less that of another projection
    assert np.ptp(kept.x) == pytest.approx(np.ptp(source.x) * 0.3048, rel=0.02)


def test_las_and_laz_of_one_cloud_give_equal_points(make_store: MakeStore, shared_data: Path) -> None:
    clouds = []
    for name in ("autzen_trim.laz", "autzen_trim_7.las"):
        store = make_store(OREGON)
        file = ingest(store, [shared_data / "autzen_trim" / name], Declared(vertical_datum="city")).files[0]
        assert (file.read, file.loaded) == (110_000, 110_000), file
        clouds.append(stored(store))
    assert np.array_equal(clouds[0].xyz, clouds[1].xyz)
    for name in ("intensity", "classification", "red", "green", "blue", "gps_time", "return_number"):
        assert np.array_equal(clouds[0][name], clouds[1][name]), name
    assert np.bincount(clouds[0].classification).tolist() == [0, 83_893, 26_107]


def test_extra_dimensions_and_classes_of_the_french_cloud_are_kept(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(FRANCE)
    path = shared_data / "france_lidarhd/lidar_2154_south.laz"
    file = ingest(store, [path], Declared(vertical_datum="city")).files[0]
    assert (file.read, file.loaded) == (141_496, 141_496), file
    source, kept = laspy.read(path), stored(store)
    assert np.array_equal(kept.xyz, source.xyz)
    for name in source.point_format.extra_dimension_names:
        assert np.array_equal(source[name], kept[name]), name
    with store.connect() as connection:
        row = connection.execute("SELECT about->'classes' FROM cim.asset").fetchone()
    assert row
    assert row[0]["2"] == 133_598
    assert row[0]["65"] == 5


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_cloud_cut_short_is_an_error_and_leaves_nothing(
    store: Store, tmp_path: Path, points: np.ndarray, suffix: str, share: float
) -> None:
    path = write_cloud(tmp_path / f"point_cloud{suffix}", points)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    report = ingest(store, [path], Declared(vertical_datum="city"))
    assert report.exit_code == 1
    assert "point_cloud" in str(report.files[0].error)
    assert not [p for p in store.settings.asset_store.rglob("*") if p.is_file()]


def test_a_cloud_without_a_crs_or_in_another_city_says_what_to_do(
    store: Store, tmp_path: Path, points: np.ndarray
) -> None:
    bare = write_cloud(tmp_path / "bare.las", points, crs=None)
    assert ingest(store, [bare], Declared(vertical_datum="city")).files[0].setting == "crs"
    said = Declared(vertical_datum="city", crs="EPSG:4526")
    assert "EPSG:4547" in str(ingest(store, [bare], said).files[0].error)
    assert ingest(store, [bare], Declared(crs="EPSG:4547")).files[0].setting == "vertical_datum"
    shutil.copy(bare, tmp_path / "point_cloud.las")
    assert ingest(store, [bare], Declared(crs="EPSG:4547", vertical_datum="city")).exit_code == 0
