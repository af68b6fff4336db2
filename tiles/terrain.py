"""Terrain tiles: the stored rasters as quantized-mesh on the same quadtree as everything else.

Heights are the city's plus the height anomaly. A level is built where a raster is fine enough to fill it; beyond the
rasters their rims even out and fade to their middle heights, the nearer ones most, so that no view ends in a cliff.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from pyproj import CRS

from cim.catalog.model import Layer
from cim.city import Extent
from cim.geometry.stored_form import content_hash
from cim.read.terrain import Surface, heights, surfaces
from cim.reference.crs import WGS84, Float, Operation, operation
from cim.reference.grid import Raster
from cim.store.connection import Store
from cim.store.schema import IN_TILES
from tiles.encode.quantized_mesh import encode, grid_mesh
from tiles.files import known_tiles, publish, remember, write_files, write_whole
from tiles.frame import Frame
from tiles.outcome import Interval, Outcome, Progress
from tiles.plan.quadtree import Cell, cell_numbers
from tiles.plan.tree import Tile
from tiles.recipe import recipe
from tiles.rim import FARTHEST_DEG, METRES_PER_DEGREE, Rim

NODES = 65  # of a tile's grid, each way
FINER = 0.96  # nodes stand so many raster cells apart at the deepest level
_FADE_M = 16_000.0  # beyond the rasters heights fall to their middle over this distance
_BESIDE_M = 1.0  # from a rim, within which it counts alone
_AT_ONCE = 50  # tiles of which it is noted at once that they are there


@dataclass(frozen=True)
class Ground:
    """The surfaces of one moment, and how to ask them in degrees."""

    surfaces: tuple[Surface, ...]
    extents: tuple[Extent, ...]  # degrees, one a surface
    rims: tuple[Rim, ...]  # of those that no other surrounds
    frame: Frame

    def reach(self, cell: Cell) -> tuple[float, float] | None:
        """Return the lowest and highest that finer tiles of a cell may show; None: there are none finer."""
        west, south, east, north = cell.degrees
        meets = [
            (surface, (w, s, e, n))
            for surface, (w, s, e, n) in zip(self.surfaces, self.extents, strict=True)
            if w <= east and e >= west and s <= north and n >= south
        ]
        if not any(deepest_level(surface.resolution_m) > cell.level for surface, _ in meets):
            return None
        ranges = [surface.raster.value_range for surface, _ in meets]
        within = _around([extent for _, extent in meets])
        lon, lat = np.clip((west + east) / 2, *within[::2]), np.clip((south + north) / 2, *within[1::2])
        rise = float(self.frame.rise(*self._to_city(np.array([lon]), np.array([lat])))[0])
        return min(low for low, _ in ranges) + rise, max(high for _, high in ranges) + rise

    def heights(self, lon: Float, lat: Float) -> Float:
        """Return ellipsoidal heights at places in degrees, everywhere."""
        west, south, east, north = _around(self.extents)
        near_lon = np.clip(lon.ravel(), west - FARTHEST_DEG, east + FARTHEST_DEG)
        near_lat = np.clip(lat.ravel(), south - FARTHEST_DEG, north + FARTHEST_DEG)
        places = self._to_city(near_lon, near_lat)
        z = heights(list(self.surfaces), *places)
        has_value = np.isfinite(z)
        z[has_value] = self.frame.ellipsoidal(places[0][has_value], places[1][has_value], z[has_value])
        if not has_value.all():
            z[~has_value] = self._beyond(near_lon[~has_value], near_lat[~has_value])
        return z.reshape(lon.shape)

    def _beyond(self, lon: Float, lat: Float) -> Float:
        """Return ellipsoidal heights where no raster has a value: what the rims say, the nearest most."""
        total, weights = np.zeros(lon.size), np.zeros(lon.size)
        city = CRS.from_epsg(self.frame.city.srid)
        for rim in self.rims:
            column, row, away = rim.nearest(lon, lat)
            z = np.full(lon.size, rim.middle_m)
            outside = np.flatnonzero(away > 0)  # the others lie in a gap of the raster
            if len(outside):
                z[outside] = rim.heights(column[outside], row[outside], away[outside])
            z = rim.middle_m + (z - rim.middle_m) * np.exp(-away / _FADE_M)
            raster = rim.surface.raster
            x, y = operation(raster.crs, city, self.frame.city.extent)(*raster.places(column, row))
            z = self.frame.ellipsoidal(x, y, z)
            weight = np.maximum(away, _BESIDE_M) ** -2.0
            total += weight * z
            weights += weight
        return total / weights

    def covers(self, cell: Cell) -> bool:
        """Whether one raster has all heights of a cell, so that no rim is asked."""
        west, south, east, north = cell.degrees
        margin = (east - west) / (NODES - 1)
        wide = shapely.box(west - margin, south - margin, east + margin, north + margin)
        lon, lat = shapely.get_coordinates(shapely.segmentize(wide, 8 * margin)).T
        return any(
            shapely.covers(shapely.box(*extent), wide) and _within(surface.raster, lon, lat)
            for surface, extent in zip(self.surfaces, self.extents, strict=True)
        )

    @cached_property
    def _to_city(self) -> Operation:
        return operation(WGS84, CRS.from_epsg(self.frame.city.srid), self.frame.city.extent)


def _within(raster: Raster, lon: Float, lat: Float) -> bool:
    """Whether places in degrees lie between centres of a raster that has a value in each cell."""
    column, row = raster.cells(*operation(WGS84, raster.crs)(lon, lat))
    rows, columns = raster.shape
    inside = (column >= 0) & (column <= columns - 1) & (row >= 0) & (row <= rows - 1)
    return bool(inside.all()) and raster.is_whole


def _around(extents: Sequence[Extent]) -> Extent:
    """Return the box around boxes."""
    boxes = np.array(extents)
    (west, south), (east, north) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
    return west, south, east, north


def tile_terrain(store: Store, layer: Layer, progress: Progress = lambda *_: None) -> Outcome:
    """Bring the terrain tiles up to date, for every stretch of city time between two changes of the rasters."""
    frame, folder = Frame(store.city), store.settings.tile_store / layer.id
    outcome = Outcome(layer.id)
    with store.connect() as connection, connection.cursor() as cursor:
        built_tiles = known_tiles(cursor, folder)
        bounds = f"SELECT lower(valid), upper(valid) FROM cim.asset WHERE layer = %s AND {IN_TILES}"
        moments = _moments(cursor.execute(bounds, [layer.id]).fetchall())
        grounds: list[tuple[Interval, Ground | None]] = []
        for interval in moments:
            rasters = surfaces(cursor, store, layer, _moment_in(interval), public_only=True)
            grounds.append((interval, ground_between(rasters, frame) if rasters else None))
    for interval, ground in grounds:
        if ground is None:
            continue
        names: dict[str, str] = {}
        cells = list(_cells(ground))
        for first in range(0, len(cells), _AT_ONCE):
            built: dict[bytes, Tile] = {}
            for cell in cells[first : first + _AT_ONCE]:
                fingerprint = _fingerprint(cell, ground)
                tile = built_tiles.get(fingerprint)
                if tile is None:
                    content = build_tile(cell, ground)
                    tile = Tile(hashlib.sha256(content).hexdigest() + ".terrain", (0.0,) * 6, 0.0)
                    write_whole(folder / "content" / tile.name, content)
                    built_tiles[fingerprint] = built[fingerprint] = tile
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


def ground_between(rasters: Sequence[Surface], frame: Frame) -> Ground:
    """Return the ground of rasters and what lies between and beyond them."""
    extents, outlines = [], []
    for surface in rasters:
        rows, columns = surface.raster.shape
        column, row = np.meshgrid(np.linspace(0, columns - 1, 9), np.linspace(0, rows - 1, 9))
        lon, lat = operation(surface.raster.crs, WGS84)(*surface.raster.places(column.ravel(), row.ravel()))
        extents.append((float(lon.min()), float(lat.min()), float(lon.max()), float(lat.max())))
        outlines.append(shapely.convex_hull(shapely.multipoints(np.c_[lon, lat])))
    rims = [Rim(rasters[k], extents[k]) for k in range(len(rasters)) if not _surrounded(outlines, k)]
    return Ground(tuple(rasters), tuple(extents), tuple(rims), frame)


def _surrounded(outlines: Sequence[Any], k: int) -> bool:
    """Whether another outline covers one; of equals only the last isn't covered."""
    return any(
        shapely.covers(other, outlines[k]) and (j > k or not shapely.covers(outlines[k], other))
        for j, other in enumerate(outlines)
        if j != k
    )


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
    rims = [] if ground.covers(cell) else [rim.surface.sha256 for rim in ground.rims]
    parts = [recipe(), cell.level, cell.x, cell.y, meets, rims, ground.frame.signature]
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
