"""Terrain tiles: the stored rasters as quantized-mesh on the same quadtree as everything else.

Heights are the city's plus the height anomaly. A level is built where a raster is fine enough to fill it; beyond the
rasters the nearest edge fades to their middle height, so that no view ends in a cliff.
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

from cim.bodies import content_hash
from cim.catalog.model import Layer
from cim.crs import WGS84, Float, operation
from cim.ground import Surface, heights, surfaces
from cim.store import Store
from tiles.cells import Cell, cell_numbers
from tiles.files import known_tiles, publish, remember, write_files, write_whole
from tiles.frame import Frame
from tiles.outcome import Interval, Outcome, Progress
from tiles.quantized_mesh import encode, grid_mesh
from tiles.tree import Tile

TERRAIN_VERSION = 5  # raise it when the same input gives other bytes
NODES = 65  # of a tile's grid, each way
FINER = 0.96  # nodes stand so many raster cells apart at the deepest level
_FADE_DEG = 0.15  # beyond the rasters heights fall to their middle over this distance
_STRETCHES = np.array([0.4, 1.0, 2.5])  # of the edge to either side that a place beyond it evens out, of its distance
_METRES_PER_DEGREE = 111_320.0


@dataclass(frozen=True)
class Ground:
    """The surfaces of one moment, and how to ask them in degrees."""

    surfaces: tuple[Surface, ...]
    extents: tuple[tuple[float, float, float, float], ...]  # degrees, one a surface
    middle_m: float
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
        away = np.hypot(*self._beyond(lon, lat)).ravel()
        z = self._surface(lon, lat)
        outside = np.flatnonzero(away > 0)
        if len(outside):
            z[outside] = self._continued(lon.ravel()[outside], lat.ravel()[outside])
        z = self.middle_m + (z - self.middle_m) * np.exp(-away / _FADE_DEG)
        return np.asarray((z + self.frame.anomaly(*self._in_city(lon, lat))).reshape(lon.shape))

    def _beyond(self, lon: Float, lat: Float) -> tuple[Float, Float]:
        """Return how far east and north of the coarsest raster, which surrounds the others, places lie, in degrees."""
        west, south, east, north = self.extents[-1]
        return lon - np.clip(lon, west, east), lat - np.clip(lat, south, north)

    def _in_city(self, lon: Float, lat: Float) -> tuple[Float, Float]:
        """Return places, those beyond the coarsest raster moved to its edge, in the city's CRS."""
        west, south, east, north = self.extents[-1]
        margin = 1e-7
        near_lon, near_lat = np.clip(lon, west + margin, east - margin), np.clip(lat, south + margin, north - margin)
        to_city = operation(WGS84, CRS.from_epsg(self.frame.city.srid), self.frame.city.extent)
        return to_city(near_lon.ravel(), near_lat.ravel())

    def _surface(self, lon: Float, lat: Float) -> Float:
        z = heights(list(self.surfaces), *self._in_city(lon, lat))
        return np.where(np.isnan(z), self.middle_m, z)

    def _continued(self, lon: Float, lat: Float) -> Float:
        """Return heights beyond the rasters: the mean of those along the edge, over a stretch as long as it is far."""
        west, south, east, north = self.extents[-1]
        nearest_lon, nearest_lat = np.clip(lon, west, east), np.clip(lat, south, north)
        width, height = east - west, north - south
        along = np.select(
            [lat < south, lon > east, lat > north],
            [nearest_lon - west, width + nearest_lat - south, width + height + east - nearest_lon],
            2 * width + height + north - nearest_lat,
        )
        step, sums = self._edge
        half = np.maximum(np.hypot(*self._beyond(lon, lat))[:, None] * _STRETCHES, step)
        means = (self._sum_to(along[:, None] + half, sums) - self._sum_to(along[:, None] - half, sums)) / (2 * half)
        return np.asarray(means.mean(axis=1))

    def _sum_to(self, along: Float, sums: Float) -> Float:
        """Return the integral of the heights up to a place on the edge, which goes round."""
        rounds, part = np.divmod(along, sums[0, -1])
        return np.asarray(np.interp(part, *sums) + rounds * sums[1, -1])

    @cached_property
    def _edge(self) -> tuple[float, Float]:
        """The coarsest raster's edge, anticlockwise from the south-west, in degrees: a step, and (2, k) way and sum."""
        west, south, east, north = self.extents[-1]
        corners = np.array([[west, south], [east, south], [east, north], [west, north], [west, south]])
        way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(corners, axis=0)).sum(axis=1))])
        step = self.surfaces[-1].resolution_m / _METRES_PER_DEGREE
        along = np.linspace(0.0, way[-1], int(way[-1] / step) + 2)
        z = self._surface(np.interp(along, way, corners[:, 0]), np.interp(along, way, corners[:, 1]))
        areas = np.diff(along) * (z[1:] + z[:-1]) / 2
        return step, np.stack([along, np.concatenate([[0.0], np.cumsum(areas)])])


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
        for done, cell in enumerate(cells, 1):
            fingerprint = _fingerprint(cell, ground)
            tile = known.get(fingerprint)
            if tile is None:
                content = build_tile(cell, ground)
                tile = Tile(hashlib.sha256(content).hexdigest() + ".terrain", (0.0,) * 6, 0.0)
                write_whole(folder / "content" / tile.name, content)
                known[fingerprint] = tile
                remember(store, {fingerprint: tile})
                outcome.built += 1
                progress(done, len(cells))
            names[f"{cell.level}/{cell.x}/{cell.y}"] = tile.name
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
    middle = float(np.nanmedian(found[-1].raster.values))
    return Ground(tuple(found), tuple(extents), middle, frame)


def deepest_level(resolution_m: float) -> int:
    """Return the first level whose nodes stand closer than the raster's cells by the factor FINER."""
    level = 0
    while 180.0 / 2**level / (NODES - 1) * _METRES_PER_DEGREE > resolution_m * FINER and level < 19:
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
