"""Terrain tiles: the stored rasters as quantized-mesh on the same quadtree as everything else.

Heights are the city's plus the height anomaly. A level is built where a raster is fine enough to fill it; beyond the
rasters their rim evens out and fades to their middle height, so that no view ends in a cliff.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pyproj import CRS

from cim.catalog.model import Layer
from cim.geometry.bodies import content_hash
from cim.read.terrain import Surface, heights, surfaces
from cim.reference.crs import WGS84, Float, operation
from cim.store.connection import Store
from tiles.encode.quantized_mesh import encode, grid_mesh
from tiles.files import known_tiles, publish, remember, write_files, write_whole
from tiles.frame import Frame
from tiles.outcome import Interval, Outcome, Progress
from tiles.plan.quadtree import Cell, cell_numbers
from tiles.plan.tree import Tile
from tiles.rim import METRES_PER_DEGREE, Rim

TERRAIN_VERSION = 5  # raise it when the same input gives other bytes
NODES = 65  # of a tile's grid, each way
FINER = 0.96  # nodes stand so many raster cells apart at the deepest level
_FADE_M = 16_000.0  # beyond the rasters heights fall to their middle over this distance
_AT_ONCE = 50  # tiles of which it is noted at once that they are there


@dataclass(frozen=True)
class Ground:
    """The surfaces of one moment, and how to ask them in degrees."""

    surfaces: tuple[Surface, ...]
    extents: tuple[tuple[float, float, float, float], ...]  # degrees, one a surface
    frame: Frame

    def reach(self, cell: Cell) -> tuple[float, float] | None:
        """Return the lowest and highest that finer tiles of a cell may show; None: there are none finer."""
        west, south, east, north = cell.degrees
        meets = [
            surface
            for surface, (w, s, e, n) in zip(self.surfaces, self.extents, strict=True)
            if w <= east and e >= west and s <= north and n >= south
        ]
        if not any(deepest_level(surface.resolution_m) > cell.level for surface in meets):
            return None
        ranges = [surface.raster.value_range for surface in meets]
        lon, lat = (
            np.clip((west + east) / 2, *self.extents[-1][::2]),
            np.clip((south + north) / 2, *self.extents[-1][1::2]),
        )
        to_city = operation(WGS84, CRS.from_epsg(self.frame.city.srid), self.frame.city.extent)
        anomaly = float(self.frame.anomaly(*to_city(np.array([lon]), np.array([lat])))[0])
        return min(low for low, _ in ranges) + anomaly, max(high for _, high in ranges) + anomaly

    def heights(self, lon: Float, lat: Float) -> Float:
        """Return ellipsoidal heights at places in degrees, everywhere."""
        x, y, away = self.rim.nearest(lon.ravel(), lat.ravel())
        city = self.frame.city
        places = operation(self.rim.surface.raster.crs, CRS.from_epsg(city.srid), city.extent)(x, y)
        z = heights(list(self.surfaces), *places)
        z = np.where(np.isnan(z), self.rim.middle_m, z)
        outside = np.flatnonzero(away > 0)
        if len(outside):
            z[outside] = self.rim.heights(x[outside], y[outside], away[outside])
        z = self.rim.middle_m + (z - self.rim.middle_m) * np.exp(-away / _FADE_M)
        return np.asarray((z + self.frame.anomaly(*places)).reshape(lon.shape))

    @cached_property
    def rim(self) -> Rim:
        """Of the coarsest raster, which surrounds the others."""
        return Rim(self.surfaces[-1], self.extents[-1])


def tile_terrain(store: Store, layer: Layer, progress: Progress = lambda *_: None) -> Outcome:
    """Bring the terrain tiles up to date, for every stretch of city time between two changes of the rasters."""
    frame, folder = Frame(store.city), store.settings.tile_store / layer.id
    outcome = Outcome(layer.id)
    with store.connect() as connection, connection.cursor() as cursor:
        known = known_tiles(cursor, folder)
        bounds = "SELECT lower(valid), upper(valid) FROM cim.asset WHERE layer = %s AND upper_inf(recorded)"
        moments = _moments(cursor.execute(bounds, [layer.id]).fetchall())
        grounds: list[tuple[Interval, Ground | None]] = []
        for interval in moments:
            found = surfaces(cursor, store, layer, _moment_in(interval))
            grounds.append((interval, _ground(found, frame) if found else None))
    for interval, ground in grounds:
        if ground is None:
            continue
        names: dict[str, str] = {}
        cells = list(_cells(ground))
        for first in range(0, len(cells), _AT_ONCE):
            built: dict[bytes, Tile] = {}
            for cell in cells[first : first + _AT_ONCE]:
                fingerprint = _fingerprint(cell, ground)
                tile = known.get(fingerprint)
                if tile is None:
                    content = build_tile(cell, ground)
                    tile = Tile(hashlib.sha256(content).hexdigest() + ".terrain", (0.0,) * 6, 0.0)
                    write_whole(folder / "content" / tile.name, content)
                    known[fingerprint] = built[fingerprint] = tile
                names[f"{cell.level}/{cell.x}/{cell.y}"] = tile.name
            if built:
                remember(store, built)
                outcome.built += len(built)
                progress(min(first + _AT_ONCE, len(cells)), len(cells))
        outcome.tiles += len(cells)
        outcome.roots[interval] = _write_index(folder, names, cells, outcome)
    publish(store, layer, outcome.roots)
    return outcome


def build_tile(cell: Cell, ground: Ground) -> bytes:
    """Build one tile."""
    west, south, east, north = cell.degrees
    steps = np.arange(-1, NODES + 1) / (NODES - 1)
    lon, lat = np.meshgrid(west + (east - west) * steps, np.clip(south + (north - south) * steps, -90, 90))
    return encode(cell, grid_mesh(cell, ground.heights(lon, lat)), ground.reach(cell))


def tile_name(folder: Path, index: str, z: int, x: int, y: int) -> str | None:
    """Return the content's name of a tile in an index, or None if the index hasn't it."""
    return _index(folder / "tileset" / f"{index}.json").get(f"{z}/{x}/{y}")


@lru_cache(maxsize=16)
def _index(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    names: dict[str, str] = json.loads(path.read_bytes())
    return names


def _moments(rows: list[tuple[Any, Any]]) -> Iterator[Interval]:
    bounds = sorted({bound for row in rows for bound in row if bound is not None})
    yield from pairwise([None, *bounds, None])


def _moment_in(interval: Interval) -> datetime | None:
    """Return a moment of an interval; None, which is now, where it has no bounds."""
    start, end = interval
    return start or (end - timedelta(seconds=1) if end else None)


def _ground(found: list[Surface], frame: Frame) -> Ground:
    extents = []
    for surface in found:
        rows, columns = surface.raster.shape
        x0, dx, y0, dy = surface.raster.transform
        edge_x = np.linspace(x0, x0 + dx * (columns - 1), 9)
        edge_y = np.linspace(y0, y0 + dy * (rows - 1), 9)
        x, y = np.meshgrid(edge_x, edge_y)
        lon, lat = operation(surface.raster.crs, WGS84)(x.ravel(), y.ravel())
        extents.append((float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())))
    return Ground(tuple(found), tuple(extents), frame)


def deepest_level(resolution_m: float) -> int:
    """Return the first level whose nodes stand closer than the raster's cells by the factor FINER."""
    level = 0
    while 180.0 / 2**level / (NODES - 1) * METRES_PER_DEGREE > resolution_m * FINER and level < 19:
        level += 1
    return level


def _cells(ground: Ground) -> Iterator[Cell]:
    """Yield the cells to build: both of level 0, and at each level those that a fine enough raster reaches."""
    deepest = [deepest_level(s.resolution_m) for s in ground.surfaces]
    seen: set[Cell] = {Cell(0, 0, 0), Cell(0, 1, 0)}
    for level in range(1, max(deepest) + 1):
        for extent, deep in zip(ground.extents, deepest, strict=True):
            if level <= deep:
                (x0, x1), (y0, y1) = cell_numbers(np.array(extent[::2]), np.array(extent[1::2]), level)
                seen |= {Cell(level, x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)}
    # a tile with one child needs all four: the others would be made from it anyway
    for level in range(max(deepest), 1, -1):
        parents = {c.parent for c in seen if c.level == level}
        seen |= {Cell(level, p.x * 2 + i, p.y * 2 + j) for p in parents for i in (0, 1) for j in (0, 1)} | parents
    return iter(sorted(seen))


def _fingerprint(cell: Cell, ground: Ground) -> bytes:
    west, south, east, north = cell.degrees
    margin = (east - west) / (NODES - 1)
    meets = [
        surface.sha256
        for surface, (w, s, e, n) in zip(ground.surfaces, ground.extents, strict=True)
        if w <= east + margin and e >= west - margin and s <= north + margin and n >= south - margin
    ]
    parts = [TERRAIN_VERSION, cell.level, cell.x, cell.y, meets, ground.surfaces[-1].sha256, ground.frame.signature]
    return content_hash(json.dumps(parts).encode())


def _write_index(folder: Path, names: dict[str, str], cells: list[Cell], outcome: Outcome) -> str:
    """Write the index of a moment's tiles and the layer.json that leads to it; return the layer.json's name."""
    index = json.dumps(names, separators=(",", ":"), sort_keys=True).encode()
    index_name = hashlib.sha256(index).hexdigest()
    document = json.dumps(
        {
            "tilejson": "2.1.0",
            "name": "terrain",
            "version": "1.0.0",
            "format": "quantized-mesh-1.0",
            "scheme": "tms",
            "projection": "EPSG:4326",
            "extensions": ["octvertexnormals"],
            "tiles": [f"{index_name}/{{z}}/{{x}}/{{y}}.terrain"],
            "bounds": [-180, -90, 180, 90],
            "minzoom": 0,
            "maxzoom": max(c.level for c in cells),
            "available": _available(cells),
        },
        separators=(",", ":"),
    ).encode()
    name = hashlib.sha256(document).hexdigest() + ".json"
    outcome.written_files += write_files({f"{index_name}.json": index, name: document}, folder / "tileset")
    return name


def _available(cells: list[Cell]) -> list[list[dict[str, int]]]:
    """Return the rectangles of each level: runs of neighbours along each row."""
    levels: list[list[dict[str, int]]] = [[] for _ in range(max(c.level for c in cells) + 1)]
    for cell in sorted(cells, key=lambda c: (c.level, c.y, c.x)):
        runs = levels[cell.level]
        if runs and runs[-1]["endY"] == cell.y and runs[-1]["endX"] == cell.x - 1:
            runs[-1]["endX"] = cell.x
        else:
            runs.append({"startX": cell.x, "startY": cell.y, "endX": cell.x, "endY": cell.y})
    return levels
