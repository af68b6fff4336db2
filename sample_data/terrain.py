"""The relief of the sample: a river valley in coal hills, as one function of place, in 1985 heights."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# the middle of the town, EPSG:4547: 113.580 E, 37.860 N
EAST, NORTH = 463_040.0, 4_192_060.0
FLOOR_M = 676.0  # the valley floor at the middle of the town
FALL = 0.0045  # of the river, eastward
RIVER_HALF_WIDTH_M = 24.0
BED_DEPTH_M = 4.5
_STEP_M = 3.2  # height of a field terrace


@dataclass(frozen=True)
class Relief:
    """A relief of a seed; coordinates are metres from the middle of the town."""

    seed: int

    def height(self, x: Float, y: Float) -> Float:
        """Return heights in metres."""
        away = np.abs(y - river_y(x)) / np.sqrt(1 + river_slope(x) ** 2)
        # the valley is wider at its bends, and its floor rises gently to the foot of the hills
        foot = 420.0 + 90.0 * np.sin(x / 610.0 + 1.0) + 60.0 * self.noise(x / 420.0, y / 420.0, 3)
        floor = FLOOR_M - FALL * x + 0.018 * np.maximum(away - 40.0, 0.0)
        up = np.maximum(away - foot, 0.0)
        ridges = 1.0 - np.abs(self.fractal(x / 1900.0, y / 1900.0, octaves=5, channel=11))
        hills = 330.0 * (1.0 - np.exp(-up / 900.0)) * (0.45 + 0.9 * ridges**2)
        # side valleys run down to the river between spurs
        hills *= 0.72 + 0.28 * _smooth(np.abs(self.noise(x / 760.0, y / 1500.0, 17)) * 2.2)
        mountains = 260.0 * _smooth((away - 2200.0) / 5200.0) * (0.55 + 0.8 * ridges**2)
        gullies = 26.0 * self.fractal(x / 310.0, y / 310.0, octaves=3, channel=29) * np.minimum(up / 500.0, 1.0)
        micro = 0.35 * self.noise(x / 90.0, y / 90.0, 47) * np.minimum(away / 80.0, 1.0)
        ground = floor + self._terraced(hills + gullies, up, x, y) + mountains + micro
        bed = BED_DEPTH_M * _smooth(1.0 - (away - RIVER_HALF_WIDTH_M + 8.0) / 16.0)
        return np.asarray(ground - bed)

    def _terraced(self, hills: Float, up: Float, x: Float, y: Float) -> Float:
        """Cut fields into the lower slopes, where people farm them."""
        step = np.floor(hills / _STEP_M)
        cut = _STEP_M * (step + _smooth((hills / _STEP_M - step) * 1.4 - 0.2))
        farmed = _smooth(1.6 - np.abs(up - 330.0) / 210.0) * _smooth(0.4 + 2.4 * self.noise(x / 520.0, y / 520.0, 53))
        return np.asarray(hills + 0.8 * (cut - hills) * farmed)

    def fractal(self, x: Float, y: Float, octaves: int, channel: int) -> Float:
        """Return noise of several octaves, about -1 to 1."""
        total, weight = np.zeros(np.broadcast(x, y).shape), 0.0
        for octave in range(octaves):
            scale, amplitude = 2.03**octave, 0.5**octave
            total = total + amplitude * self.noise(x * scale, y * scale, channel + octave)
            weight += amplitude
        return total / weight

    def noise(self, x: Float, y: Float, channel: int) -> Float:
        """Return smooth value noise of unit wavelength, -1 to 1."""
        i, j = np.floor(x), np.floor(y)
        fx, fy = _fade(x - i), _fade(y - j)
        corner = [[self._lattice(i + di, j + dj, channel) for di in (0, 1)] for dj in (0, 1)]
        low = corner[0][0] + fx * (corner[0][1] - corner[0][0])
        high = corner[1][0] + fx * (corner[1][1] - corner[1][0])
        return np.asarray(low + fy * (high - low))

    def _lattice(self, i: Float, j: Float, channel: int) -> Float:
        """Return a value from -1 to 1 for each lattice point: an integer hash (Wang), the same on every machine."""
        mask = np.uint64(0xFFFFFFFF)
        key = (i.astype(np.int64) * 73_856_093) ^ (j.astype(np.int64) * 19_349_663) ^ (channel * 83_492_791 + self.seed)
        h = key.astype(np.uint64) & mask
        for multiplier, shift in ((0x45D9F3B, 16), (0x45D9F3B, 16), (0x119DE1F3, 15)):
            h = ((h ^ (h >> np.uint64(shift))) * np.uint64(multiplier)) & mask
        return np.asarray((h >> np.uint64(8)).astype(np.float64) / 2.0**23 - 1.0)


def axis_y(x: Float) -> Float:
    """Return where the valley's axis runs, metres north of the town's middle."""
    return np.asarray(170.0 * np.sin(x / 560.0) - 40.0)


def meander_y(x: Float) -> Float:
    """Return how far the river swings from the axis."""
    return np.asarray(60.0 * np.sin(x / 215.0 + 0.8))


def river_y(x: Float) -> Float:
    """Return where the river's middle runs."""
    return np.asarray(axis_y(x) + meander_y(x))


def river_slope(x: Float) -> Float:
    """Return dy/dx of the river's middle."""
    return np.asarray(170.0 / 560.0 * np.cos(x / 560.0) + 60.0 / 215.0 * np.cos(x / 215.0 + 0.8))


def _fade(t: Float) -> Float:
    return t * t * t * (t * (t * 6 - 15) + 10)


def _smooth(t: Float) -> Float:
    t = np.clip(t, 0.0, 1.0)
    return t * t * (3 - 2 * t)
