"""GCJ-02 and BD-09, the shifted coordinates of Chinese map services: accepted as input, inverted, never published.

Neither is in the EPSG registry. GCJ-02 moves WGS 84 by 350 to 600 m with a published approximation of its shift;
subtracting the shift once leaves metres, so it is inverted by iteration, to less than a micrometre of the formula.
The constants are those of the approximation that all open implementations share (eviltransform, coordtransform).
"""

from collections.abc import Callable

import numpy as np

from cim.reference.crs import Float

_SEMI_MAJOR_M = 6_378_245.0  # Krasovsky 1940
_ECCENTRICITY_2 = 0.006_693_421_622_965_943
_BAIDU = np.pi * 3000.0 / 180.0
_ITERATIONS = 30

SHIFTED = ("GCJ-02", "BD-09")
Unshift = Callable[[Float, Float], tuple[Float, Float]]


def unshift(name: str) -> Unshift | None:
    """Return the function from a shifted system to WGS 84 longitude and latitude, or None if `name` is none."""
    return {"GCJ-02": from_gcj02, "GCJ02": from_gcj02, "BD-09": from_bd09, "BD09": from_bd09}.get(name.upper())


def to_gcj02(lon: Float, lat: Float) -> tuple[Float, Float]:
    """Return GCJ-02 longitude and latitude of WGS 84, degrees; for tests of the inverse only."""
    x, y = lon - 105.0, lat - 35.0
    wave = (20 * np.sin(6 * np.pi * x) + 20 * np.sin(2 * np.pi * x)) * 2 / 3
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * np.sqrt(np.abs(x)) + wave
    north += (20 * np.sin(np.pi * y) + 40 * np.sin(np.pi / 3 * y)) * 2 / 3
    north += (160 * np.sin(np.pi / 12 * y) + 320 * np.sin(np.pi / 30 * y)) * 2 / 3
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * np.sqrt(np.abs(x)) + wave
    east += (20 * np.sin(np.pi * x) + 40 * np.sin(np.pi / 3 * x)) * 2 / 3
    east += (150 * np.sin(np.pi / 12 * x) + 300 * np.sin(np.pi / 30 * x)) * 2 / 3
    phi = np.radians(lat)
    root = np.sqrt(1 - _ECCENTRICITY_2 * np.sin(phi) ** 2)
    meridian = _SEMI_MAJOR_M * (1 - _ECCENTRICITY_2) / root**3
    return lon + np.degrees(east / (_SEMI_MAJOR_M / root * np.cos(phi))), lat + np.degrees(north / meridian)


def from_gcj02(lon: Float, lat: Float) -> tuple[Float, Float]:
    """Return WGS 84 longitude and latitude of GCJ-02, degrees."""
    guess_lon, guess_lat = lon.copy(), lat.copy()
    for _ in range(_ITERATIONS):
        shifted_lon, shifted_lat = to_gcj02(guess_lon, guess_lat)
        guess_lon, guess_lat = guess_lon + lon - shifted_lon, guess_lat + lat - shifted_lat
    return guess_lon, guess_lat


def from_bd09(lon: Float, lat: Float) -> tuple[Float, Float]:
    """Return WGS 84 longitude and latitude of BD-09, degrees: BD-09 is GCJ-02 turned and moved once more."""
    goal_lon, goal_lat = lon, lat
    x, y = lon - 0.0065, lat - 0.006
    for _ in range(_ITERATIONS):
        radius = np.hypot(x, y) + 0.00002 * np.sin(y * _BAIDU)
        angle = np.arctan2(y, x) + 0.000003 * np.cos(x * _BAIDU)
        x = x + goal_lon - (radius * np.cos(angle) + 0.0065)
        y = y + goal_lat - (radius * np.sin(angle) + 0.006)
    return from_gcj02(x, y)
