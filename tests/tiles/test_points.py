"""Point clouds in tiles: each point in exactly one, where it belongs; the same tiles whatever the memory."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyproj import CRS, Transformer

from cim.config import Settings
from cim.reference.crs import fitted, operation
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.factory import khronos_findings
from tests.ingest.test_pointcloud import write_cloud
from tiles.check import Glb
from tiles.points import BITS, FEW, _cells, error_m, tile_clouds
from tiles.tilers import run

ROOT = Path(__file__).parents[2]
EAST, NORTH = 463_000.0, 4_192_000.0


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    """A hill of 150,000 points with a tower on it, over a quarter of a square kilometre."""
    random = np.random.default_rng(3)
    x, y = random.uniform(0, 500, (2, 150_000))
    tower = (np.abs(x - 250) < 20) & (np.abs(y - 250) < 20)
    z = 700 + 20 * np.sin(x / 90) + np.where(tower, 60 * random.random(150_000), 0)
    return np.round(np.column_stack([EAST + x, NORTH + y, z]), 3)


def load(store: Store, path: Path) -> None:
    report = ingest(store, [path], Declared(vertical_datum="city"))
    assert report.exit_code == 0, report.summary()


def root_of(store: Store, layer: str = "point_cloud") -> str:
    with store.connect() as connection:
        row = connection.execute("SELECT name FROM cim.tile_root WHERE layer = %s", [layer]).fetchone()
    assert row
    return str(row[0])


def tiles(folder: Path, name: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Every tile of a tileset with its depth, files of tilesets followed."""
    waiting = [(json.loads((folder / "tileset" / name).read_bytes())["root"], 0)]
    while waiting:
        tile, depth = waiting.pop()
        yield tile, depth
        waiting += [(child, depth + 1) for child in tile.get("children", ())]
        uri = tile.get("content", {}).get("uri", "")
        if uri.endswith(".json"):
            waiting.append((json.loads((folder / "tileset" / uri.rsplit("/", 1)[-1]).read_bytes())["root"], depth))


def places(glb: Glb) -> np.ndarray:
    (primitive,) = glb.primitives
    local = glb.accessor(primitive["attributes"]["POSITION"]) + glb.document["nodes"][0]["translation"]
    return np.column_stack([local[:, 0], -local[:, 2], local[:, 1]])


def attribute(glb: Glb, name: str, kind: str) -> np.ndarray:
    """Single values, each in four bytes of its own view."""
    accessor = glb.document["accessors"][glb.primitives[0]["attributes"][name]]
    return np.frombuffer(glb.view(accessor["bufferView"]), kind)[:: 4 // np.dtype(kind).itemsize]


def contents(store: Store) -> dict[str, Glb]:
    folder = store.settings.tile_store / "point_cloud"
    names = [t["content"]["uri"].rsplit("/", 1)[-1] for t, _ in tiles(folder, root_of(store)) if "content" in t]
    glbs = [name for name in names if name.endswith(".glb")]
    assert len(glbs) == len(set(glbs))
    return {name: Glb.read((folder / "content" / name).read_bytes()) for name in glbs}


def test_every_point_stands_in_exactly_one_tile_where_the_cloud_has_it(
    store: Store, tmp_path: Path, points: np.ndarray
) -> None:
    load(store, write_cloud(tmp_path / "point_cloud.laz", points))
    assert list(run(store, ["point_cloud"]))
    found = contents(store)
    ecef = np.concatenate([places(glb) for glb in found.values()])
    assert len(ecef) == len(points)
    to_city = Transformer.from_crs(4978, 4979, always_xy=True)
    lon, lat, height = to_city.transform(*ecef.T)
    x, y = Transformer.from_crs(4490, 4547, always_xy=True).transform(lon, lat)
    back = np.column_stack([x, y, height + 15.1])
    # float32 about a tile's centre: coarse tiles are hundreds of metres across
    assert np.abs(np.sort(back, axis=0) - np.sort(points, axis=0)).max() < 1e-3
    counts = np.zeros(3, int)
    for glb in found.values():
        counts += np.bincount(attribute(glb, "_CLASSIFICATION", "u1"), minlength=3)
    assert counts.tolist() == [50_000] * 3


def test_volumes_nest_and_errors_fall(store: Store, tmp_path: Path, points: np.ndarray) -> None:
    load(store, write_cloud(tmp_path / "point_cloud.laz", points))
    tile_clouds(store, store.catalog.layers["point_cloud"])
    folder = store.settings.tile_store / "point_cloud"
    to_degrees = Transformer.from_crs(4978, 4979, always_xy=True)
    seen = 0
    for tile, _ in tiles(folder, root_of(store)):
        assert tile["refine"] == "ADD"
        west, south, east, north, low, high = tile["boundingVolume"]["region"]
        for child in tile.get("children", ()):
            w, s, e, n, bottom, top = child["boundingVolume"]["region"]
            assert west <= w <= e <= east
            assert south <= s <= n <= north
            assert low <= bottom <= top <= high
            assert child["geometricError"] <= tile["geometricError"]
        uri = tile.get("content", {}).get("uri", "")
        if uri.endswith(".glb"):
            glb = Glb.read((folder / "content" / uri.rsplit("/", 1)[-1]).read_bytes())
            lon, lat, height = to_degrees.transform(*places(glb).T)
            box = tile["content"]["boundingVolume"]["region"]
            assert np.allclose(np.radians([lon.min(), lat.min(), lon.max(), lat.max()]), box[:4], atol=1e-9)
            assert np.allclose([height.min(), height.max()], box[4:], atol=2e-3)
            seen += 1
    assert seen > 8


def test_a_coarse_tile_is_spread_evenly_over_what_it_stands_for(
    store: Store, tmp_path: Path, points: np.ndarray
) -> None:
    load(store, write_cloud(tmp_path / "point_cloud.laz", points))
    tile_clouds(store, store.catalog.layers["point_cloud"])
    folder = store.settings.tile_store / "point_cloud"
    coarse = [t for t, _ in tiles(folder, root_of(store)) if t.get("children") and "glb" in str(t.get("content"))]
    for tile in coarse:
        glb = Glb.read((folder / "content" / tile["content"]["uri"].rsplit("/", 1)[-1]).read_bytes())
        apart = tile["geometricError"]
        area = 500.0**2
        assert 0.3 * min(area / apart**2, FEW) < len(places(glb)) < 4 * area / apart**2 + 100


def test_memory_does_not_change_a_name(
    store: Store, tmp_path: Path, points: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, write_cloud(tmp_path / "point_cloud.laz", points))
    layer = store.catalog.layers["point_cloud"]
    monkeypatch.setattr("tiles.points.CHUNK", 10_000)
    roots = []
    for memory in (1_000_000, 10**9):  # out of core first, in a store that has no folder yet
        monkeypatch.setattr(Settings, "memory_bytes", property(lambda _, m=memory: m))
        with store.connect() as connection:
            connection.execute("DELETE FROM cim.tile")
        assert tile_clouds(store, layer).built > 8
        roots.append(root_of(store))
    assert roots[0] == roots[1]


def test_a_second_run_builds_nothing_and_a_new_cloud_only_itself(
    store: Store, tmp_path: Path, points: np.ndarray
) -> None:
    layer = store.catalog.layers["point_cloud"]
    load(store, write_cloud(tmp_path / "point_cloud_a.laz", points[:30_000]))
    assert tile_clouds(store, layer).built > 0
    assert tile_clouds(store, layer).built == 0
    before = set(contents(store))
    load(store, write_cloud(tmp_path / "point_cloud_b.laz", points[30_000:60_000]))
    assert tile_clouds(store, layer).built > 0
    after = contents(store)
    assert before < set(after)
    assert sum(len(places(glb)) for glb in after.values()) == 60_000


@pytest.mark.client
def test_tiles_pass_the_khronos_validator(store: Store, tmp_path: Path, points: np.ndarray) -> None:
    load(store, write_cloud(tmp_path / "point_cloud.laz", points[:40_000]))
    tile_clouds(store, store.catalog.layers["point_cloud"])
    folder = store.settings.tile_store / "point_cloud" / "content"
    assert khronos_findings(folder.glob("*.glb")) == []


def test_cells_follow_the_quadtree_and_halve(points: np.ndarray) -> None:
    lon, lat = operation_to_degrees(points)
    root, code = _cells(lon, lat, points[:, 2])
    size = 180 / 2**12
    assert np.array_equal(root, np.floor((lat + 90) / size) * 2**13 + np.floor((lon + 180) / size))
    east = np.floor((lon + 180) / size * 2) % 2
    assert np.array_equal(code >> 3 * (BITS - 1) & 1, east.astype(int))
    assert error_m(3) == pytest.approx(error_m(2) / 2)


def operation_to_degrees(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return operation(CRS.from_epsg(4547), CRS.from_epsg(4326))(points[:, 0], points[:, 1])


def test_a_fitted_operation_follows_the_operation_to_a_tenth_of_a_millimetre(points: np.ndarray) -> None:
    exact = operation(CRS.from_epsg(4547), CRS.from_epsg(4326))
    lon, lat = exact(points[:, 0], points[:, 1])
    near = fitted(exact, points[:, 0], points[:, 1])
    assert np.abs(near[0] - lon).max() * 111_320 < 1e-4
    assert np.abs(near[1] - lat).max() * 111_320 < 1e-4
    # over hundreds of kilometres it is either as near or the operation itself
    far = points[:, 0] * 800 - 799 * EAST
    wide = fitted(exact, far, points[:, 1])
    assert np.abs(wide[0] - exact(far, points[:, 1])[0]).max() * 111_320 < 2e-4


def test_colours_are_linear_and_a_file_of_bytes_fills_the_range() -> None:
    from tiles.encode.points_glb import _linear

    assert _linear(np.array([[0, 128, 255]], np.uint16)).tolist() == [[0, round(65535 * 0.21586), 65535]]
    assert _linear(np.array([[0, 65535, 32896]], np.uint16))[0, 2] == round(65535 * 0.21586)


def test_las_without_colour_is_white(store: Store, tmp_path: Path, points: np.ndarray) -> None:
    load(store, write_cloud(tmp_path / "point_cloud.las", points[:500]))
    tile_clouds(store, store.catalog.layers["point_cloud"])
    (glb,) = contents(store).values()
    assert len(places(glb)) == 500
