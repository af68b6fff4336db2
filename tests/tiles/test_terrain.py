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
from scipy.ndimage import map_coordinates

from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from sample_data.terrain import EAST, NORTH, Relief
from tiles.plan.quadtree import Cell
from tiles.terrain import tile_terrain

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


@pytest.fixture
def tiles(store: Store, sample_folder: Path) -> dict[Cell, Decoded]:
    ingest(store, sorted(sample_folder.glob("*.tif")), Declared(vertical_datum="city", date="2024-05-01"))  # type: ignore[arg-type]
    layer = store.catalog.layers["terrain"]
    first = tile_terrain(store, layer)
    assert first.built > 100
    again = tile_terrain(store, layer)
    assert (again.built, again.written_files) == (0, 0)
    with store.connect() as connection:
        row = connection.execute("SELECT name FROM cim.tile_root WHERE valid @> now()").fetchone()
    assert row
    folder = store.settings.tile_store / "terrain"
    document = json.loads((folder / "tileset" / row[0]).read_bytes())
    names = json.loads((folder / "tileset" / f"{document['tiles'][0].split('/')[0]}.json").read_bytes())
    deep = {name: file for name, file in names.items() if int(name.split("/")[0]) >= 14}
    return {Cell(*map(int, n.split("/"))): decode((folder / "content" / f).read_bytes()) for n, f in deep.items()}


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
