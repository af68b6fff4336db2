"""Ground beyond a raster: as high as its rim, evened out the further away a place is."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cim.city import Extent
from cim.read.terrain import Surface
from cim.reference.crs import WGS84, Float, operation

_STRETCHES = np.array([0.4, 1.0, 2.5])  # of the rim to either side that a place evens out, of its distance
METRES_PER_DEGREE = 111_320.0
FARTHEST_DEG = 2.0  # beyond this a place isn't told from one at this distance: a city's projection ends somewhere


@dataclass(frozen=True)
class Rim:
    """The rectangle through the outermost cells' centres of a raster, in columns and rows of its grid."""

    surface: Surface
    degrees: Extent

    def nearest(self, lon: Float, lat: Float) -> tuple[Float, Float, Float]:
        """Return columns and rows of places, those beyond it moved to the rim, and how many metres away they were."""
        west, south, east, north = self.degrees
        places = operation(WGS84, self.surface.raster.crs)(
            np.clip(lon, west - FARTHEST_DEG, east + FARTHEST_DEG),
            np.clip(lat, south - FARTHEST_DEG, north + FARTHEST_DEG),
        )
        column, row = self.surface.raster.cells(*places)
        last_column, last_row = self._last
        near_column, near_row = np.clip(column, 0, last_column), np.clip(row, 0, last_row)
        wide, high = self._cell_m
        return near_column, near_row, np.hypot((column - near_column) * wide, (row - near_row) * high)

    def heights(self, column: Float, row: Float, away: Float) -> Float:
        """Return heights of places so far from a column and row on the rim: the mean along it to either side."""
        last_column, last_row = self._last
        wide, high = self._cell_m
        width, height = last_column * wide, last_row * high
        along = np.select(
            [row >= last_row, column >= last_column, row <= 0],
            [column * wide, width + (last_row - row) * high, width + height + (last_column - column) * wide],
            2 * width + height + row * high,
        )
        half = np.maximum(away[:, None] * _STRETCHES, self.surface.resolution_m)
        means = (self._sum_to(along[:, None] + half) - self._sum_to(along[:, None] - half)) / (2 * half)
        return np.asarray(means.mean(axis=1))

    def _sum_to(self, along: Float) -> Float:
        """Return the integral of the heights up to a way along the rim, which goes round."""
        way, sums = self._sums
        rounds, part = np.divmod(along, way[-1])
        return np.asarray(np.interp(part, way, sums) + rounds * sums[-1])

    @cached_property
    def _sums(self) -> tuple[Float, Float]:
        """Ways along the rim in metres, from its last row's first cell on, and the integral of heights up to there."""
        last_column, last_row = self._last
        corners = np.array([[0, last_row], [last_column, last_row], [last_column, 0], [0, 0], [0, last_row]], float)
        at_corner = np.concatenate([[0.0], np.cumsum((np.abs(np.diff(corners, axis=0)) * self._cell_m).sum(axis=1))])
        way = np.linspace(0.0, at_corner[-1], int(at_corner[-1] / self.surface.resolution_m) + 2)
        column, row = (np.interp(way, at_corner, corners[:, axis]) for axis in (0, 1))
        z = self.surface.raster.sample(*self.surface.raster.places(column, row))
        has_value = ~np.isnan(z)
        z = np.interp(way, way[has_value], z[has_value]) if has_value.any() else np.full(len(way), self.middle_m)
        return way, np.concatenate([[0.0], np.cumsum(np.diff(way) * (z[1:] + z[:-1]) / 2)])

    @cached_property
    def middle_m(self) -> float:
        """The raster's middle height."""
        return float(np.nanmedian(self.surface.raster.values))

    @property
    def _last(self) -> tuple[int, int]:
        rows, columns = self.surface.raster.shape
        return columns - 1, rows - 1

    @cached_property
    def _cell_m(self) -> NDArray[np.float64]:
        """(2,) metres from column to column, and from row to row."""
        _, _, *steps = self.surface.raster.transform
        unit_m = np.ones(2)
        if self.surface.raster.crs.is_geographic:
            middle = np.radians((self.degrees[1] + self.degrees[3]) / 2)
            unit_m = METRES_PER_DEGREE * np.array([np.cos(middle), 1.0])
        return np.asarray(np.linalg.norm(np.reshape(steps, (2, 2)) * unit_m, axis=1))
