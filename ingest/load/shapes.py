"""Shapes as an editor sends them back: whether one is still the stored one, and the heights that it lost on the way.

An editor reads coordinates rounded to a tenth of a millimetre, may know no third dimension, begins rings where it
likes, and gives a vertex that it adds the height 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from shapely.errors import GEOSException

from cim.geometry.body_batch import Bodies, Bool, Float, Int

SAME_M = 1e-3  # what moved less than this hasn't moved
BLOCK_M = 0.01  # a block is as high as its attributes say where it differs by less: they are given in centimetres


@dataclass(frozen=True)
class Restored:
    """A shape with what the stored one knows of it."""

    shape: Any
    unmoved: bool  # in the plane
    unchanged: bool  # in its heights too
    guessed: int = 0  # vertices whose heights are those of the nearest place of the stored shape


def restored(shape: Any, stored: Any) -> Restored:
    """Return a shape that comes from an editor with the heights of the stored one, which itself is returned unchanged.

    A vertex that stayed is the stored one, with the height that it is given, if any. One that is new has the height
    that it is given, or that of the nearest place of the stored shape: a height of zero among others is none.

    Args:
        shape: valid, of the layer's type, in the city's CRS; with heights or without.
        stored: as it is stored.

    """
    unmoved = same_in_plane(shape, stored)
    has_z, knows_z = shapely.has_z(shape), shapely.has_z(stored)
    points = shapely.get_coordinates(shape, include_z=True)  # without heights they are NaN
    old = shapely.get_coordinates(stored, include_z=True)
    if knows_z and np.any(old[:, 2] != 0):
        points[points[:, 2] == 0, 2] = np.nan
    partner = _partners(points, old)
    stayed = partner >= 0
    points[stayed, :2] = old[partner[stayed], :2]
    given = np.isfinite(points[:, 2])
    if not knows_z:
        flat = shapely.set_coordinates(shapely.force_2d(shape), points[:, :2])
        shape = shapely.set_coordinates(shapely.force_3d(shape), points) if has_z else flat
        return Restored(stored if unmoved and not has_z else shape, unmoved, unmoved and not has_z)
    before = np.full(len(points), np.nan)
    before[stayed] = old[partner[stayed], 2]
    before[~stayed] = _heights_along(stored, points[~stayed])
    if unmoved and not np.any(np.abs(points[given, 2] - before[given]) >= SAME_M):
        return Restored(stored, unmoved=True, unchanged=True)
    points[:, 2] = np.where(given, points[:, 2], before)
    shape = shapely.set_coordinates(shapely.force_3d(shape), points)
    return Restored(shape, unmoved, unchanged=False, guessed=int(np.count_nonzero(~stayed & ~given)))


def same_in_plane(a: Any, b: Any) -> bool:
    """Return whether two shapes are the same one in the plane, however their rings begin and their parts are ordered.

    A line that runs the other way is another one: its direction may be that of the traffic.
    """
    a, b = shapely.force_2d(a), shapely.force_2d(b)
    if shapely.get_type_id(a) != shapely.get_type_id(b):
        return False
    kind = shapely.get_type_id(a)
    if kind == shapely.GeometryType.POINT:
        return bool(shapely.distance(a, b) < SAME_M)
    if kind == shapely.GeometryType.MULTILINESTRING:
        return _same_lines(a, b)
    if not _hausdorff(shapely.boundary(a), shapely.boundary(b)) < SAME_M:
        return False
    try:  # the same vertices, joined in another way, make another area
        apart = shapely.area(shapely.symmetric_difference(a, b))
    except GEOSException:
        return False
    return bool(apart <= SAME_M * shapely.length(b))


def _hausdorff(a: Any, b: Any) -> float:
    return float(shapely.hausdorff_distance(a, b))


def _same_lines(a: Any, b: Any) -> bool:
    others = [shapely.get_coordinates(part) for part in shapely.get_parts(b)]
    for part in shapely.get_parts(a):
        points = shapely.get_coordinates(part)
        same = [k for k, o in enumerate(others) if len(o) == len(points) and np.hypot(*(o - points).T).max() < SAME_M]
        if not same:
            return False
        del others[same[0]]
    return not others


def _partners(points: Float, stored: Float) -> Int:
    """Return for each vertex the stored vertex at its place, -1 where there is none.

    Where several stand above each other, as in a riser, they are met in their order.
    """
    partner = np.full(len(points), -1, np.int64)
    tree = shapely.STRtree(shapely.points(stored[:, :2]))
    fresh, old = tree.query(shapely.points(points[:, :2]), predicate="dwithin", distance=SAME_M)
    last = -1
    for vertex in np.unique(fresh):
        candidates = np.sort(old[fresh == vertex])
        following = candidates[candidates > last]
        last = partner[vertex] = (following if len(following) else candidates)[0]
    return partner


def _heights_along(stored: Any, points: Float) -> Float:
    """Return the heights of a stored shape at its places nearest to some points."""
    if shapely.get_type_id(stored) == shapely.GeometryType.POINT:
        return np.full(len(points), shapely.get_z(stored))
    polygons = shapely.get_type_id(stored) == shapely.GeometryType.MULTIPOLYGON
    lines = shapely.get_rings(shapely.get_parts(stored)) if polygons else shapely.get_parts(stored)
    places = shapely.points(points[:, :2])
    nearest = lines[np.argmin(shapely.distance(places[:, None], lines[None, :]), axis=1)]
    at = shapely.line_interpolate_point(nearest, shapely.line_locate_point(nearest, places))
    return np.asarray(shapely.get_z(at))


def is_block(body: Bodies, footprint: Any, height_m: float) -> bool:
    """Return whether a body is the block that a footprint and a height make: then it says nothing beyond them."""
    z = body.vertices[body.indices, 2]
    low, high = z.min(), z.max()
    if not abs(high - low - height_m) <= BLOCK_M:  # a height that isn't known makes none
        return False
    upright: Bool = (np.abs(z - low) < SAME_M) | (np.abs(z - high) < SAME_M)
    corners = shapely.multipoints(body.vertices[body.indices, :2])
    outline = shapely.multipoints(shapely.get_coordinates(footprint))
    return bool(upright.all()) and _hausdorff(corners, outline) < SAME_M
