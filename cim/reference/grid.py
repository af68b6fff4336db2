"""Rasters: one band of floats over a regular grid, turned or not, sampled between the centres of its cells."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from pyproj import CRS

from cim.city import Extent
from cim.reference.crs import Float, Operation, operation, split

# GDAL's format of a raster that is sampled, by its suffix: there are others that name further files, or addresses
FORMATS = {".gtx": "GTX", ".asc": "AAIGrid"}
STORED = "GTiff"


@dataclass(frozen=True)
class Raster:
    """A raster file, opened when it is first sampled.

    `transform` is (x, y) of the first cell's centre, then the steps (x, y) from column to column and from row to row,
    whatever the file says about pixels being areas or points.
    """

    path: Path
    crs: CRS
    shape: tuple[int, int]
    transform: tuple[float, float, float, float, float, float]
    band: int = 1

    @classmethod
    def open(cls, path: Path) -> "Raster":
        """Read the header of a raster file."""
        import rasterio

        with rasterio.open(path, driver=_format(path)) as file:
            t = file.transform  # GDAL moves the corner for AREA_OR_POINT=Point, so that the centre is always half in
            horizontal, _ = split(CRS.from_wkt(file.crs.to_wkt()))
            first = (t.c + (t.a + t.b) / 2, t.f + (t.d + t.e) / 2)
            return cls(path, horizontal, (file.height, file.width), (*first, t.a, t.d, t.b, t.e))

    def operation_from(self, crs: CRS, extent: Extent | None = None) -> Operation:
        """Return the operation from a CRS to the raster's."""
        return operation(crs, self.crs, extent)

    @cached_property
    def values(self) -> Float:
        """(rows, columns) float64, NaN where the file has no data."""
        import rasterio

        with rasterio.open(self.path, driver=_format(self.path)) as file:
            return np.asarray(file.read(self.band, masked=True).astype(np.float64).filled(np.nan))

    @cached_property
    def value_range(self) -> tuple[float, float]:
        """The least and the greatest value."""
        return float(np.nanmin(self.values)), float(np.nanmax(self.values))

    @cached_property
    def is_whole(self) -> bool:
        """Whether each cell has a value."""
        return bool(np.isfinite(self.values).all())

    def cells(self, x: Float, y: Float) -> tuple[Float, Float]:
        """Return columns and rows of places in the raster's CRS, whole numbers at the centres of cells."""
        x0, y0, right_x, right_y, down_x, down_y = self.transform
        east, north = np.asarray(x) - x0, np.asarray(y) - y0
        if right_y == down_x == 0:
            return east / right_x, north / down_y
        area = right_x * down_y - right_y * down_x
        return (east * down_y - north * down_x) / area, (north * right_x - east * right_y) / area

    def places(self, column: Float, row: Float) -> tuple[Float, Float]:
        """Return places in the raster's CRS of columns and rows."""
        x0, y0, right_x, right_y, down_x, down_y = self.transform
        return x0 + right_x * column + down_x * row, y0 + right_y * column + down_y * row

    def sample(self, x: Float, y: Float) -> Float:
        """Return bilinear values at places in the raster's CRS; NaN outside, and where a neighbour has no data.

        Within half a cell of the raster's edge the outermost centres answer.
        """
        rows, columns = self.shape
        u, v = self.cells(x, y)
        inside = (u >= -0.5) & (u <= columns - 0.5) & (v >= -0.5) & (v <= rows - 0.5)
        u = np.clip(np.where(inside, u, 0), 0, columns - 1)
        v = np.clip(np.where(inside, v, 0), 0, rows - 1)
        i, j = np.minimum(u.astype(np.int64), max(columns - 2, 0)), np.minimum(v.astype(np.int64), max(rows - 2, 0))
        i1, j1 = np.minimum(i + 1, columns - 1), np.minimum(j + 1, rows - 1)
        fu, fv = u - i, v - j
        grid = self.values
        # a weight of zero must not carry a neighbour's NaN in
        total = np.zeros(np.shape(u))
        for jj, ii, weight in (
            (j, i, (1 - fv) * (1 - fu)),
            (j, i1, (1 - fv) * fu),
            (j1, i, fv * (1 - fu)),
            (j1, i1, fv * fu),
        ):
            total = total + np.where(weight > 0, grid[jj, ii] * weight, 0.0)
        return np.where(inside, total, np.nan)


def _format(path: Path) -> str:
    return FORMATS.get(path.suffix.lower(), STORED)
