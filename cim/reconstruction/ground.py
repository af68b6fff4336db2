"""Ground and surface of a cloud as rasters; a filter that finds the ground where nobody classified the points.

The filter is SMRF: T. J. Pingel, K. C. Clarke, W. A. McBride (2013), An improved simple morphological filter for the
terrain classification of airborne LIDAR data, ISPRS Journal 77, 21-30; with square windows, which are separable.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

GROUND_CLASS = 2
NOISE_CLASSES = (7, 18)  # ASPRS LAS 1.4 R15, table 17
FILTER_CELL_M = 1.0
LARGEST_OBJECT_M = 18.0  # half the width of the largest building that the filter takes off the ground
SLOPE = 0.15  # of the ground, beyond which what rises is an object
ABOVE_M = 0.5  # a point this near the filtered surface is ground,
ABOVE_BY_SLOPE = 1.25  # and this much more for each metre that the surface rises in a metre


@dataclass(frozen=True)
class Grid:
    """A raster's cells: row 0 lies in the north."""

    west: float
    north: float
    cell_m: float
    rows: int
    columns: int

    @classmethod
    def over(cls, box: tuple[float, float, float, float], cell_m: float) -> "Grid":
        """Return the grid over a box, on whole multiples of its cells, so that neighbours fit."""
        west, south = (np.floor(value / cell_m) * cell_m for value in box[:2])
        east, north = (np.ceil(value / cell_m) * cell_m for value in box[2:])
        rows, columns = max(1, round((north - south) / cell_m)), max(1, round((east - west) / cell_m))
        return cls(float(west), float(north), cell_m, rows, columns)

    def cells(self, xy: Float) -> tuple[NDArray[np.int64], Bool]:
        """Return the flat cell of each place (n, 2), and which lie on the grid."""
        column = np.floor((xy[:, 0] - self.west) / self.cell_m).astype(np.int64)
        row = np.floor((self.north - xy[:, 1]) / self.cell_m).astype(np.int64)
        # what lies exactly on the south or east rim belongs to the last cell
        column[(column == self.columns) & (xy[:, 0] <= self.west + self.columns * self.cell_m)] -= 1
        row[(row == self.rows) & (xy[:, 1] >= self.north - self.rows * self.cell_m)] -= 1
        inside = (column >= 0) & (column < self.columns) & (row >= 0) & (row < self.rows)
        return row * self.columns + column, inside

    def sample(self, values: Float, xy: Float) -> Float:
        """Return a raster's values between the centres of its cells; outside, the nearest rim."""
        column = (xy[:, 0] - self.west) / self.cell_m - 0.5
        row = (self.north - xy[:, 1]) / self.cell_m - 0.5
        return np.asarray(ndimage.map_coordinates(values, [row, column], order=1, mode="nearest"))


def gridded(points: Float, grid: Grid, statistic: str) -> Float:
    """Return the lowest, highest or mean height of the points (n, 3) in each cell; NaN where there is none."""
    cell, inside = grid.cells(points[:, :2])
    cell, z = cell[inside], points[inside, 2]
    count = grid.rows * grid.columns
    if statistic == "mean":
        number = np.bincount(cell, minlength=count)
        with np.errstate(invalid="ignore"):
            values = np.bincount(cell, z, count) / number
    else:
        ufunc, start = (np.minimum, np.inf) if statistic == "lowest" else (np.maximum, -np.inf)
        values = np.full(count, start)
        ufunc.at(values, cell, z)
        values[np.isinf(values)] = np.nan
    return values.reshape(grid.rows, grid.columns)


def filled(values: Float, within: int | None = None) -> Float:
    """Return a raster with its empty cells filled from around them, smoothly; the nearest value begins it.

    Args:
        values: (rows, columns), NaN where empty.
        within: cells; what lies farther from any value stays empty. None: all is filled.

    """
    empty = np.isnan(values)
    if not empty.any() or empty.all():
        return values
    distance, nearest = ndimage.distance_transform_edt(empty, return_indices=True)
    result = values[tuple(nearest)]
    # a few sweeps of averaging take the edges off the nearest values; the known cells hold
    for size in (9, 5, 3, 3):
        result = np.where(empty, ndimage.uniform_filter(result, size, mode="nearest"), values)
    if within is not None:
        result[distance > within] = np.nan
    return np.asarray(result)


def filter_ground(points: Float) -> Bool:
    """Return which points (n, 3) are ground, from their places alone.

    The lowest surface is opened with ever larger windows; where it drops by more than a slope allows, something stood.
    """
    if not len(points):
        return np.zeros(0, bool)
    (west, south), (east, north) = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    grid = Grid.over((west, south, east, north), FILTER_CELL_M)
    lowest = gridded(points, grid, "lowest")
    empty = np.isnan(lowest)
    surface = _without_pits(filled(lowest))
    stands = np.zeros(surface.shape, bool)
    last = surface
    for radius in range(1, round(LARGEST_OBJECT_M / FILTER_CELL_M) + 1):
        opened = ndimage.grey_opening(surface, size=2 * radius + 1, mode="nearest")
        stands |= last - opened > SLOPE * FILTER_CELL_M * radius
        last = np.minimum(last, opened)
    ground = filled(np.where(stands | empty, np.nan, surface))
    if np.isnan(ground).all():
        return np.zeros(len(points), bool)
    dy, dx = np.gradient(ground, FILTER_CELL_M) if min(ground.shape) > 1 else (np.zeros_like(ground),) * 2
    steep = grid.sample(np.hypot(dx, dy), points[:, :2])
    return np.asarray(np.abs(points[:, 2] - grid.sample(ground, points[:, :2])) <= ABOVE_M + ABOVE_BY_SLOPE * steep)


def _without_pits(surface: Float) -> Float:
    """Return a surface without single cells that lie far below all around them: echoes from below the ground."""
    around = ndimage.median_filter(surface, size=5, mode="nearest")
    return np.where(around - surface > 5.0, around, surface)
