"""Earth-centred coordinates: where a plane that touches the ellipsoid stands, and back to degrees."""

from collections.abc import Sequence

import numpy as np
from pyproj import Transformer

from cim.reference.crs import Float

_TO_DEGREES = Transformer.from_crs(4978, 4979, always_xy=True)


def from_plane(points: Float, anchor: Sequence[float], heading: float = 0.0) -> Float:
    """Return points (n, 3) of east, north, up about an anchor as earth-centred ones, in metres.

    Args:
        points: of the plane, before it is turned.
        anchor: longitude, latitude in degrees, ellipsoidal height.
        heading: degrees by which the plane is turned clockwise.

    """
    lon, lat = np.radians(anchor[:2])
    east = np.array([-np.sin(lon), np.cos(lon), 0.0])
    up = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    axes = np.stack([east, np.cross(up, east), up])
    cos, sin = np.cos(np.radians(heading)), np.sin(np.radians(heading))
    turned = points @ np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(turned @ axes + to_earth(*(np.array([value]) for value in anchor)))


def to_earth(lon: Float, lat: Float, height: Float) -> Float:
    """Return earth-centred points (n, 3) of degrees and ellipsoidal heights."""
    return np.column_stack(_TO_DEGREES.transform(lon, lat, height, direction="INVERSE"))


def to_degrees(points: Float) -> tuple[Float, Float, Float]:
    """Return longitude, latitude and ellipsoidal height of earth-centred points (n, 3)."""
    lon, lat, height = _TO_DEGREES.transform(points[:, 0], points[:, 1], points[:, 2])
    return np.asarray(lon), np.asarray(lat), np.asarray(height)
