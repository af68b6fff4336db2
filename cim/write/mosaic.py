"""A raster layer's sheets as one GeoTIFF: cut to what they cover, written block by block within bounded memory.

The grid is that of the finest sheet, which answers where several lie. A box gives the sheets' own cells, not new ones
between them; what the box reaches beyond the sheets costs nothing.
"""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import calculate_default_transform, transform_bounds
from rasterio.windows import Window

from cim.city import Extent
from cim.errors import BadRequest, NotFound, TooLarge
from cim.messages import say
from cim.read.terrain import Surface
from cim.reference.crs import WGS84, label, operation, split

CACHE_BYTES = 64_000_000  # of blocks in GDAL, which takes a twentieth of the machine's memory otherwise
BLOCK = 1024  # rows and columns that are held at once
_SNAP = 1e-6  # of a cell: an edge this close to a cell's is the cell's
_SIDE_POINTS = 33  # of a box whose sides are bent in another CRS
_TILED = {
    "driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate",
    "bigtiff": "IF_SAFER",
}  # fmt: skip


@dataclass(frozen=True)
class Cut:
    """What of a mosaic is wanted."""

    bbox: Extent | None = None  # degrees
    crs: CRS | None = None  # horizontal; None: that of the finest sheet
    smooth: bool = True  # values are interpolated between the centres of cells of another grid; else the nearest's
    most_bytes: int = 0  # uncompressed, all bands; 0: any number


@dataclass(frozen=True)
class Grid:
    """The cells of a mosaic, north up."""

    crs: CRS
    transform: Affine
    width: int
    height: int

    @property
    def bounds(self) -> Extent:
        """Xmin, ymin, xmax, ymax of the cells' edges."""
        xmin, ymax = self.transform @ (0, 0)
        xmax, ymin = self.transform @ (self.width, self.height)
        return xmin, ymin, xmax, ymax


@dataclass(frozen=True)
class _Sheet:
    """A file as it lies in a grid: the rows and columns that it may fill."""

    file: Any
    rows: tuple[int, int]
    columns: tuple[int, int]

    def meets(self, window: Window) -> bool:
        return bool(
            self.rows[0] < window.row_off + window.height
            and window.row_off < self.rows[1]
            and self.columns[0] < window.col_off + window.width
            and window.col_off < self.columns[1]
        )


def write_mosaic(sheets: Sequence[Surface], cut: Cut, path: Path, extent: Extent | None) -> None:
    """Write sheets as one GeoTIFF.

    Args:
        sheets: the finest first, which gives bands, type and colours.
        cut: what of them.
        path: of the file.
        extent: of the city in degrees; an operation between two CRS may be good only in a part of the world.

    Raises:
        NotFound: they have no cell in the box.
        TooLarge: they have more cells there than may be asked for.
        BadRequest: they can't be brought to the wanted CRS.

    """
    with rasterio.Env(GDAL_CACHEMAX=CACHE_BYTES), ExitStack() as stack:
        files = [stack.enter_context(rasterio.open(sheet.raster.path)) for sheet in sheets]
        grid = _grid(files, cut, extent)
        finest = files[0]
        size = grid.width * grid.height * sum(np.dtype(kind).itemsize for kind in finest.dtypes)
        if cut.most_bytes and size > cut.most_bytes:
            raise TooLarge(
                say("cells-mb", width=grid.width, height=grid.height, size=size / 1e6, most_bytes=cut.most_bytes / 1e6)
            )
        laid = [_laid(stack, file, grid, smooth=cut.smooth) for file in files]
        profile = dict(finest.profile) | _TILED | {
            "crs": grid.crs.to_wkt(), "transform": grid.transform, "width": grid.width, "height": grid.height,
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as target:
            target.colorinterp, target.scales, target.offsets = finest.colorinterp, finest.scales, finest.offsets
            target.update_tags(sheets=json.dumps([sheet.sha256 for sheet in sheets]))
            for window in _blocks(grid):
                if met := [sheet for sheet in laid if sheet.meets(window)]:
                    target.write(_values(met, window, target), window=window)


def _grid(files: Sequence[Any], cut: Cut, extent: Extent | None) -> Grid:
    """Return the cells of the finest sheet's lattice that sheets cover, within the box where there is one."""
    finest = files[0]
    crs = cut.crs or split(CRS.from_wkt(finest.crs.to_wkt()))[0]
    try:
        lattice = _lattice(finest, crs)
        covered = _around([_bounds(file, crs) for file in files])
    except RasterioError as fault:
        raise BadRequest(say("cannot-used-where-rasters-lie-2", crs=label(crs), reason=fault)) from fault
    if not np.isfinite(covered).all():
        raise BadRequest(say("cannot-used-where-rasters-lie", crs=label(crs)))
    if cut.bbox:
        covered = _met(covered, _in_crs(cut.bbox, covered, crs, extent))
    left, top = ~lattice @ (covered[0], covered[3])
    right, bottom = ~lattice @ (covered[2], covered[1])
    column, row = math.floor(left + _SNAP), math.floor(top + _SNAP)
    width, height = math.ceil(right - _SNAP) - column, math.ceil(bottom - _SNAP) - row
    if width < 1 or height < 1:
        raise NotFound(say("no-raster-has-cell-box"))
    return Grid(crs, lattice @ Affine.translation(column, row), width, height)


def _lattice(finest: Any, crs: CRS) -> Affine:
    """Return where the cell (0, 0) of a grid north up lies and how large a cell is, as the finest sheet has them."""
    t, bounds = finest.transform, finest.bounds
    if finest.crs != rasterio.CRS.from_wkt(crs.to_wkt()):
        usual: Affine
        usual, *_ = calculate_default_transform(finest.crs, crs.to_wkt(), finest.width, finest.height, *bounds)
        return usual
    return Affine(math.hypot(t.a, t.d), 0.0, bounds.left, 0.0, -math.hypot(t.b, t.e), bounds.top)


def _bounds(file: Any, crs: CRS) -> Extent:
    xmin, ymin, xmax, ymax = transform_bounds(file.crs, crs.to_wkt(), *file.bounds)
    return xmin, ymin, xmax, ymax


def _in_crs(bbox: Extent, covered: Extent, crs: CRS, extent: Extent | None) -> Extent:
    """Return the box in a CRS around a box of degrees, of which only what lies where something is counts.

    Cut in degrees first: a box of the whole world has no place in a city's CRS.
    """
    to_degrees, from_degrees = operation(crs, WGS84, extent), operation(WGS84, crs, extent)
    west, south, east, north = _met(bbox, _around([_bent(covered, to_degrees)]))
    if not (west <= east and south <= north):
        raise NotFound(say("no-raster-has-cell-box"))
    return _bent((west, south, east, north), from_degrees)


def _bent(box: Extent, to: Any) -> Extent:
    """Return the box around a box that an operation bends."""
    along = np.linspace(0.0, 1.0, _SIDE_POINTS)
    u, v = (grid.ravel() for grid in np.meshgrid(along, along))
    x, y = to(box[0] + (box[2] - box[0]) * u, box[1] + (box[3] - box[1]) * v)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())


def _around(boxes: Sequence[Extent]) -> Extent:
    corners = np.array(boxes)
    (xmin, ymin), (xmax, ymax) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    return float(xmin), float(ymin), float(xmax), float(ymax)


def _met(a: Extent, b: Extent) -> Extent:
    """Return what two boxes have in common; its edges are the wrong way round where that is nothing."""
    return max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])


def _laid(stack: ExitStack, file: Any, grid: Grid, *, smooth: bool) -> _Sheet:
    """Return a file as it lies in a grid; cells that fall on cells are taken as they are."""
    xmin, ymin, xmax, ymax = _bounds(file, grid.crs)
    left, top = ~grid.transform @ (xmin, ymax)
    right, bottom = ~grid.transform @ (xmax, ymin)
    way = Resampling.bilinear if smooth and not _falls_on(file, grid) else Resampling.nearest
    masked = file.nodata is not None or ColorInterp.alpha in file.colorinterp
    place = {"crs": grid.crs.to_wkt(), "transform": grid.transform, "width": grid.width, "height": grid.height}
    warped = stack.enter_context(WarpedVRT(file, **place, resampling=way, add_alpha=not masked))
    return _Sheet(warped, (math.floor(top) - 1, math.ceil(bottom) + 1), (math.floor(left) - 1, math.ceil(right) + 1))


def _falls_on(file: Any, grid: Grid) -> bool:
    """Whether a file's cells are cells of the grid."""
    if file.crs != rasterio.CRS.from_wkt(grid.crs.to_wkt()):
        return False
    step = ~grid.transform @ file.transform
    whole = [step.c - round(step.c), step.f - round(step.f), step.a - 1, step.b, step.d, step.e - 1]
    return all(abs(off) < 1e-4 for off in whole)


def _blocks(grid: Grid) -> Iterator[Window]:
    for row in range(0, grid.height, BLOCK):
        for column in range(0, grid.width, BLOCK):
            yield Window(column, row, min(BLOCK, grid.width - column), min(BLOCK, grid.height - row))


def _values(sheets: Sequence[_Sheet], window: Window, target: Any) -> NDArray[Any]:
    """Return (bands, rows, columns): of each cell the value of the first sheet that has one."""
    shape = (target.count, window.height, window.width)
    values = np.full(shape, target.nodata if target.nodata is not None else 0, target.dtypes[0])
    unknown = np.ones(shape, bool)
    for sheet in sheets:
        bands = min(target.count, sheet.file.count)
        block = sheet.file.read(range(1, bands + 1), window=window, masked=True)
        filled = unknown[:bands] & ~np.ma.getmaskarray(block)  # type: ignore[no-untyped-call]
        values[:bands][filled] = block.data[filled]
        unknown[:bands][filled] = False
        if not unknown.any():
            break
    return values
