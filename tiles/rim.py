"""Ground beyond the rasters: as high as the coarsest one's rim, evened out the further away a place is."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cim.city import Extent
from cim.read.terrain import Surface
from cim.reference.crs import WGS84, Float, operation

_STRETCHES = np.array([0.4, 1.0, 2.5])  # of the rim to either side that a place evens out, of its distance
METRES_PER_DEGREE = 111_320.0
_FARTHEST_DEG = 2.0  # beyond this a place isn't told from one at this distance: a city's projection ends somewhere


@dataclass(frozen=True)
class Rim:
    """The rectangle through the outermost cells' centres of a raster that surrounds the others, in its own CRS."""

    surface: Surface
    degrees: Extent

    def nearest(self, lon: Float, lat: Float) -> tuple[Float, Float, Float]:
        """Return places in the raster's CRS, those beyond it moved to its rim, and how far away in metres they were."""
        west, south, east, north = self.degrees
        x, y = operation(WGS84, self.surface.raster.crs)(
            np.clip(lon, west - _FARTHEST_DEG, east + _FARTHEST_DEG),
            np.clip(lat, south - _FARTHEST_DEG, north + _FARTHEST_DEG),
        )
        xmin, ymin, xmax, ymax = self._box
        near_x, near_y = np.clip(x, xmin, xmax), np.clip(y, ymin, ymax)
        unit_x, unit_y = self._unit_m
        return near_x, near_y, np.hypot((x - near_x) * unit_x, (y - near_y) * unit_y)

    def heights(self, x: Float, y: Float, away: Float) -> Float:
        """Return heights of places so far from (x, y) on the rim: the mean along as much of it to either side."""
        xmin, ymin, xmax, ymax = self._box
        unit_x, unit_y = self._unit_m
        width, height = (xmax - xmin) * unit_x, (ymax - ymin) * unit_y
        along = np.select(
            [y <= ymin, x >= xmax, y >= ymax],
            [(x - xmin) * unit_x, width + (y - ymin) * unit_y, width + height + (xmax - x) * unit_x],
            2 * width + height + (ymax - y) * unit_y,
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
        """Ways along the rim in metres, anticlockwise from its lower left, and the integral of heights up to there."""
        xmin, ymin, xmax, ymax = self._box
        corners = np.array([[xmin, ymin], [xmax, ymin], [xmax, ymax], [xmin, ymax], [xmin, ymin]])
        at_corner = np.concatenate([[0.0], np.cumsum((np.abs(np.diff(corners, axis=0)) * self._unit_m).sum(axis=1))])
        way = np.linspace(0.0, at_corner[-1], int(at_corner[-1] / self.surface.resolution_m) + 2)
        z = self.surface.raster.sample(
            np.interp(way, at_corner, corners[:, 0]), np.interp(way, at_corner, corners[:, 1])
        )
        known = ~np.isnan(z)
        z = np.interp(way, way[known], z[known]) if known.any() else np.full(len(way), self.middle_m)
        return way, np.concatenate([[0.0], np.cumsum(np.diff(way) * (z[1:] + z[:-1]) / 2)])

    @cached_property
    def middle_m(self) -> float:
        """The raster's middle height."""
        return float(np.nanmedian(self.surface.raster.values))

    @cached_property
    def _box(self) -> tuple[float, float, float, float]:
        x0, dx, y0, dy = self.surface.raster.transform
        rows, columns = self.surface.raster.shape
        x1, y1 = x0 + dx * (columns - 1), y0 + dy * (rows - 1)
        return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)

    @cached_property
    def _unit_m(self) -> tuple[float, float]:
        """How many metres a unit of the raster's CRS is, each way."""
        if not self.surface.raster.crs.is_geographic:
            return 1.0, 1.0
        middle = np.radians((self.degrees[1] + self.degrees[3]) / 2)
        return METRES_PER_DEGREE * float(np.cos(middle)), METRES_PER_DEGREE
