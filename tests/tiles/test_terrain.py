"""Terrain tiles through a decoder of their own: the DEM comes back, triangles face up, edges meet."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.transform import Affine
from scipy.ndimage import map_coordinates

from cim.read.terrain import ground_of, surfaces
from cim.store.connection import Store
from cim.write.export import Extract, export
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from sample_data.terrain import EAST, NORTH, Relief
from tiles.frame import Frame
from tiles.plan.quadtree import Cell
from tiles.terrain import ground_between, tile_terrain

ANOMALY_M = -15.1


@dataclass
class Decoded:
    """A tile as the specification of quantized-mesh reads it."""

    u: NDArray[np.float64]
    v: NDArray[np.float64]
    height: NDArray[np.float64]
    triangles: NDArray[np.int64]
    edges: list[NDArray[np.int64]]


def decode(data: bytes) -> Decoded:
    low, high = struct.unpack_from("<2f", data, 24)
    (count,) = struct.unpack_from("<I", data, 88)
    at = 92
    columns = []
    for _ in range(3):
        coded = np.frombuffer(data, "<u2", count, at).astype(np.int64)
        columns.append(np.cumsum((coded >> 1) ^ -(coded & 1)))
        at += 2 * count
    u, v, h = columns
    (triangle_count,) = struct.unpack_from("<I", data, at)
    at += 4
    highest, indices = 0, []
    for code in np.frombuffer(data, "<u2", 3 * triangle_count, at).tolist():
        indices.append(highest - code)
        highest += code == 0
    at += 6 * triangle_count
    edges = []
    for _ in range(4):
        (length,) = struct.unpack_from("<I", data, at)
        edges.append(np.frombuffer(data, "<u2", length, at + 4).astype(np.int64))
        at += 4 + 2 * length
    extension, length = struct.unpack_from("<BI", data, at)
    assert (extension, length, at + 5 + length) == (1, 2 * count, len(data))
    return Decoded(u / 32767, v / 32767, low + h / 32767 * (high - low), np.array(indices).reshape(-1, 3), edges)


def published(store: Store, least_level: int = 14) -> dict[Cell, Decoded]:
    """The deep tiles that hold now."""
    with store.connect() as connection:
        row = connection.execute("SELECT name FROM cim.tile_root WHERE valid @> now()").fetchone()
    assert row
    folder = store.settings.tile_store / "terrain"
    document = json.loads((folder / "tileset" / row[0]).read_bytes())
    names = json.loads((folder / "tileset" / f"{document['tiles'][0].split('/')[0]}.json").read_bytes())
    deep = {name: file for name, file in names.items() if int(name.split("/")[0]) >= least_level}
    return {Cell(*map(int, n.split("/"))): decode((folder / "content" / f).read_bytes()) for n, f in deep.items()}


@pytest.fixture
def tiles(store: Store, sample_folder: Path) -> dict[Cell, Decoded]:
    ingest(store, sorted(sample_folder.glob("*.tif")), Declared(vertical_datum="city", date="2024-05-01"))  # type: ignore[arg-type]
    layer = store.catalog.layers["terrain"]
    first = tile_terrain(store, layer)
    assert first.built > 100
    again = tile_terrain(store, layer)
    assert (again.built, again.written_files) == (0, 0)
    return published(store)


def test_the_dem_comes_back(tiles: dict[Cell, Decoded], sample_folder: Path) -> None:
    to_city = Transformer.from_crs(4490, 4547, always_xy=True)
    with rasterio.open(sample_folder / "terrain_town.tif") as file:
        dem, to_cell = file.read(1).astype(float), ~file.transform
    checked = 0
    for cell, tile in tiles.items():
        if cell.level != 16:
            continue
        west, south, east, north = cell.degrees
        x, y = to_city.transform(west + (east - west) * tile.u, south + (north - south) * tile.v)
        inside = (np.abs(x - EAST) < 1190) & (np.abs(y - NORTH) < 1190)
        column, row = to_cell @ (x[inside], y[inside])
        truth = map_coordinates(dem, [row - 0.5, column - 0.5], order=1) + ANOMALY_M
        assert np.abs(tile.height[inside] - truth).max(initial=0) < 0.02  # 16 bits of a tile's range
        relief = Relief(1).height(x[inside] - EAST, y[inside] - NORTH) + ANOMALY_M
        if inside.any():
            assert np.abs(tile.height[inside] - relief).mean() < 0.25  # cells of 5 m cut the steps of terraces
        checked += int(inside.sum())
    assert checked > 100_000


def test_triangles_face_up_and_cover_the_tile(tiles: dict[Cell, Decoded]) -> None:
    for tile in tiles.values():
        a, b, c = (np.c_[tile.u, tile.v][tile.triangles[:, k]] for k in range(3))
        area = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
        assert (area > 0).all()
        assert area.sum() == pytest.approx(1.0)


def test_neighbours_meet_at_their_edges(tiles: dict[Cell, Decoded]) -> None:
    met = 0
    for cell, tile in tiles.items():
        neighbour = tiles.get(Cell(cell.level, cell.x + 1, cell.y))
        if neighbour is None:
            continue
        east = tile.edges[2][np.argsort(tile.v[tile.edges[2]])]
        west = neighbour.edges[0][np.argsort(neighbour.v[neighbour.edges[0]])]
        assert tile.height[east] == pytest.approx(neighbour.height[west], abs=0.05)
        met += 1
    assert met > 50


def plane(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(700 + 0.05 * (x - EAST) + 0.03 * (y - NORTH))


def write_plane(path: Path, corner: tuple[float, float], turned: float, cell: float, shape: tuple[int, int]) -> Path:
    """A raster of the plane, from its upper left corner, turned anticlockwise by degrees."""
    path.parent.mkdir(exist_ok=True)
    transform = Affine.translation(*corner) @ Affine.rotation(turned) @ Affine.scale(cell, -cell)
    column, row = np.meshgrid(np.arange(shape[1]) + 0.5, np.arange(shape[0]) + 0.5)
    values = plane(*(transform @ (column, row)))
    profile = {"driver": "GTiff", "height": shape[0], "width": shape[1], "count": 1, "dtype": "float32"}
    with rasterio.open(path, "w", crs="EPSG:4547", transform=transform, **profile) as file:
        file.write(values.astype(np.float32), 1)
    return path


Places = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


@pytest.fixture
def planes(store: Store, tmp_path: Path) -> Places:
    """Rasters apart, beside each other, and turned, of one name; places inside each."""
    sheets = {
        "a": ((EAST, NORTH + 1000), 0.0, 10.0, (100, 100)),
        "b": ((EAST + 1000, NORTH + 1000), 0.0, 10.0, (100, 100)),
        "far and turned": ((EAST + 6000, NORTH + 1000), 30.0, 8.0, (120, 90)),
        "turned away": ((EAST - 4000, NORTH - 3000), -100.0, 12.0, (60, 80)),
    }
    inside = {}
    for name, (corner, turned, cell, shape) in sheets.items():
        write_plane(tmp_path / name / "dem.tif", corner, turned, cell, shape)
        transform = Affine.translation(*corner) @ Affine.rotation(turned) @ Affine.scale(cell, -cell)
        column, row = np.random.default_rng(3).uniform(0.5, 0.5 + np.array(shape[::-1]) - 1, (200, 2)).T
        inside[name] = transform @ (column, row)
    report = ingest(store, [tmp_path], Declared(vertical_datum="city"))
    assert (report.exit_code, [file.loaded for file in report.files]) == (0, [1] * 4), report.summary()
    return inside


def test_heights_come_out_of_each_raster(store: Store, planes: Places, tmp_path: Path) -> None:
    with store.connect() as connection, connection.cursor() as cursor:
        ground = ground_of(cursor, store)
        assert export(cursor, store, Extract(store.catalog.layer("terrain")), tmp_path / "all.tif") == 4
    with rasterio.open(tmp_path / "all.tif") as file:
        for name, (x, y) in planes.items():
            assert np.abs(ground(x, y) - plane(x, y)).max() < 1e-3, name
            exported = np.array([value[0] for value in file.sample(zip(x, y, strict=True))])
            assert np.isfinite(exported).mean() > 0.95, name  # those nearest the edge of a turned one have no cell
            assert np.nanmax(np.abs(exported - plane(x, y))) < 0.7, name  # of the cell, not of the place


def test_tiles_come_out_of_each_raster_and_meet_between_them(store: Store, planes: Places) -> None:
    layer = store.catalog.layers["terrain"]
    tile_terrain(store, layer)
    to_city = Transformer.from_crs(4490, 4547, always_xy=True)
    decoded = published(store, 12)
    deepest = max(cell.level for cell in decoded)
    for name, (x, y) in planes.items():
        lon, lat = to_city.transform(x, y, direction="INVERSE")
        seen = 0
        for cell, tile in decoded.items():
            west, south, east, north = cell.degrees
            here = (lon >= west) & (lon < east) & (lat >= south) & (lat < north)
            if cell.level < deepest - 1 or not here.any():
                continue
            u, v = (lon[here] - west) / (east - west), (lat[here] - south) / (north - south)
            nearest = np.argmin(np.hypot(tile.u - u[:, None], tile.v - v[:, None]), axis=1)
            node_x, node_y = to_city.transform(
                west + (east - west) * tile.u[nearest], south + (north - south) * tile.v[nearest]
            )
            inner = np.hypot(node_x - x[here], node_y - y[here]) < 15
            off = tile.height[nearest][inner] - ANOMALY_M - plane(node_x, node_y)[inner]
            assert np.median(np.abs(off)) < 0.05, name
            assert np.abs(off).max(initial=0) < 1.5, name  # a node just beyond the edge has the rim's height
            seen += int(inner.sum())
        assert seen > 150, name
    met = 0
    for cell, tile in decoded.items():
        neighbour = decoded.get(Cell(cell.level, cell.x + 1, cell.y))
        if neighbour is not None:
            east, west = tile.edges[2], neighbour.edges[0]
            east, west = east[np.argsort(tile.v[east])], west[np.argsort(neighbour.v[west])]
            assert tile.height[east] == pytest.approx(neighbour.height[west], abs=0.1)
            met += 1
    assert met > 20


def test_between_rasters_no_ground_ends_in_a_cliff(store: Store, planes: Places) -> None:
    layer = store.catalog.layers["terrain"]
    with store.connect() as connection, connection.cursor() as cursor:
        ground = ground_between(surfaces(cursor, store, layer), Frame(store.city))
    to_degrees = Transformer.from_crs(4547, 4490, always_xy=True)
    x = np.linspace(EAST - 6000, EAST + 9000, 3001)  # 5 m apart, through three of them and far beyond
    heights = ground.heights(*(np.atleast_2d(c) for c in to_degrees.transform(x, np.full_like(x, NORTH + 500.0))))[0]
    assert np.isfinite(heights).all()
    assert np.abs(np.diff(heights)).max() < 4.0
    assert plane(x, NORTH + 500.0).min() - 50 < heights.min() - ANOMALY_M
    assert heights.max() - ANOMALY_M < plane(x, NORTH + 500.0).max() + 50


def test_another_sheet_beside_builds_no_tile_that_one_raster_fills(store: Store, tmp_path: Path) -> None:
    layer, said = store.catalog.layers["terrain"], Declared(vertical_datum="city")
    ingest(store, [write_plane(tmp_path / "a" / "dem.tif", (EAST, NORTH + 3000), 0.0, 10.0, (300, 300))], said)
    tile_terrain(store, layer)
    lon, lat = Transformer.from_crs(4547, 4490, always_xy=True).transform(
        EAST + np.array([100, 2900, 2900, 100]), NORTH + np.array([100, 100, 2900, 2900])
    )
    filled = [
        cell
        for cell in published(store)
        if max(lon[[0, 3]]) < cell.degrees[0]
        and cell.degrees[2] < min(lon[[1, 2]])
        and max(lat[:2]) < cell.degrees[1]
        and cell.degrees[3] < min(lat[2:])
    ]
    assert len(filled) > 5
    ingest(store, [write_plane(tmp_path / "b" / "dem.tif", (EAST + 9000, NORTH + 1000), 0.0, 10.0, (50, 50))], said)
    second = tile_terrain(store, layer)
    assert second.built <= len(published(store, 0)) - len(filled)
