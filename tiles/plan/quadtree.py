"""The law of the tree: cells of one fixed quadtree of the world, in WGS 84 longitude and latitude.

Level L has 2^(L+1) × 2^L cells; x counts from 180° W eastward, y from the south pole northward. A tile's address
depends only on where it is, never on what else is in the city.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

# WGS 84
SEMI_MAJOR_M = 6_378_137.0
FLATTENING = 1 / 298.257223563
ECCENTRICITY_2 = FLATTENING * (2 - FLATTENING)


@dataclass(frozen=True, order=True)
class Cell:
    """A cell of the quadtree."""

    level: int
    x: int
    y: int

    @property
    def degrees(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        size = 180.0 / 2**self.level
        west, south = -180.0 + self.x * size, -90.0 + self.y * size
        return west, south, west + size, south + size

    @property
    def centre(self) -> tuple[float, float]:
        """Longitude and latitude of the centre, degrees."""
        west, south, east, north = self.degrees
        return (west + east) / 2, (south + north) / 2

    def ancestor(self, level: int) -> "Cell":
        """Return the cell of a level at or above this one that holds it."""
        up = self.level - level
        return Cell(level, self.x >> up, self.y >> up)

    @property
    def parent(self) -> "Cell":
        """The cell one level up."""
        return self.ancestor(self.level - 1)


def cell_numbers(lon: Float, lat: Float, level: int) -> tuple[Int, Int]:
    """Return x and y of the cells of a level that hold places in degrees; the last cell holds the far edge."""
    size = 180.0 / 2**level
    x = np.clip(np.floor((lon + 180.0) / size), 0, 2 ** (level + 1) - 1)
    y = np.clip(np.floor((lat + 90.0) / size), 0, 2**level - 1)
    return x.astype(np.int64), y.astype(np.int64)


def ecef(lon: Float, lat: Float, height: Float) -> Float:
    """Return earth-centred coordinates, (n, 3) metres, of longitude, latitude in degrees and ellipsoidal height.

    EPSG Guidance Note 7-2, 4.1.1: the geographic/geocentric conversion.
    """
    lam, phi = np.radians(lon), np.radians(lat)
    nu = SEMI_MAJOR_M / np.sqrt(1 - ECCENTRICITY_2 * np.sin(phi) ** 2)
    return np.stack(
        [
            (nu + height) * np.cos(phi) * np.cos(lam),
            (nu + height) * np.cos(phi) * np.sin(lam),
            ((1 - ECCENTRICITY_2) * nu + height) * np.sin(phi),
        ],
        axis=-1,
    )


def east_north_up(lon: float, lat: float) -> Float:
    """Return the (4, 4) transform from axes east, north, up at a place on the ellipsoid to earth-centred ones."""
    lam, phi = np.radians(lon), np.radians(lat)
    matrix = np.eye(4)
    matrix[:3, 0] = [-np.sin(lam), np.cos(lam), 0]
    matrix[:3, 1] = [-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)]
    matrix[:3, 2] = [np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)]
    matrix[:3, 3] = ecef(np.array(lon), np.array(lat), np.array(0.0))
    return matrix


def inverse_rigid(matrix: Float) -> Float:
    """Return the inverse of a transform of rotation and translation."""
    inverse = np.eye(4)
    inverse[:3, :3] = matrix[:3, :3].T
    inverse[:3, 3] = -matrix[:3, :3].T @ matrix[:3, 3]
    return inverse
