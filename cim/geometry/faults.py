"""What is wrong with bodies that can be stored all the same: found in array passes over a batch, flagged and counted.

The faults are those of ISO 19107 as Ledoux tests them (val3dity: validation of solids and multi-surfaces, 2018), with
the tolerances of that paper; a surface that isn't closed is another matter, kept with the body.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import shapely

from cim.geometry.body_batch import Bodies, Bool, Float, Int, ranges
from cim.geometry.piercing import piercing
from cim.messages import say

PLANE_M = 0.01  # how far a face's points may lie from its plane
AREA_M2 = 1e-6  # a face of less has none
_TURN = 1e-9  # m⁴: a corner that turns by less is straight


class Fault(NamedTuple):
    """A kind of fault: how a version is flagged, what the report says, and how it is found, per body."""

    flag: str
    warning: str
    find: Callable[[Bodies], Bool]


def _any_face(bodies: Bodies, faces: Bool) -> Bool:
    return np.asarray(np.bincount(bodies.body_of_face[faces], minlength=len(bodies)) > 0)


def not_plane(bodies: Bodies) -> Bool:
    """Return which bodies have a face that leaves its plane by more than 1 cm."""
    first = bodies.index_start[bodies.ring_start[:-1]]
    size = bodies.index_start[bodies.ring_start[1:]] - first
    vectors = bodies.area_vectors
    normal = vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)[:, None]
    points = bodies.vertices[bodies.indices] - np.repeat(bodies.vertices[bodies.indices[first]], size, axis=0)
    off = np.einsum("ij,ij->i", points, np.repeat(normal, size, axis=0))
    spread = np.maximum.reduceat(off, first) - np.minimum.reduceat(off, first)
    return _any_face(bodies, (spread > PLANE_M) & (size > 3))


def without_area(bodies: Bodies) -> Bool:
    """Return which bodies have a face whose points all lie on a line."""
    return _any_face(bodies, np.asarray(np.linalg.norm(bodies.area_vectors, axis=1) < AREA_M2))


def not_orientable(bodies: Bodies) -> Bool:
    """Return which bodies have an edge that two faces run through in the same direction: one of them looks inwards."""
    start, end = bodies.indices, bodies.indices[bodies.next_index]
    return _with_repeated(bodies, start * len(bodies.vertices) + end, times=2)


def not_manifold(bodies: Bodies) -> Bool:
    """Return which bodies have an edge where more than two faces meet."""
    start, end = bodies.indices, bodies.indices[bodies.next_index]
    undirected = np.minimum(start, end) * len(bodies.vertices) + np.maximum(start, end)
    return _with_repeated(bodies, undirected, times=3)


def _with_repeated(bodies: Bodies, keys: Int, times: int) -> Bool:
    """Return which bodies have an edge whose key stands several times; canonical bodies share no vertices."""
    ordered = np.sort(keys)
    repeated = ordered[times - 1 :][ordered[times - 1 :] == ordered[: len(ordered) - times + 1]]
    result = np.zeros(len(bodies), bool)
    if len(repeated):
        result[bodies.body_of_index[np.isin(keys, repeated)]] = True
    return result


def crossing(bodies: Bodies) -> Bool:
    """Return which bodies have a face whose outline crosses or touches itself, or whose holes don't lie inside it.

    A ring that turns the same way at every corner, and once around in all, can't; only the others are looked at one
    by one, in the plane that their face is seen largest in.
    """
    single = np.diff(bodies.ring_start) == 1
    suspect = np.flatnonzero(~(single & _convex(bodies)))
    if not len(suspect):
        return np.zeros(len(bodies), bool)
    invalid = np.zeros(len(bodies.face_class), bool)
    invalid[suspect] = ~shapely.is_valid(_seen_largest(bodies, suspect))
    invalid &= np.linalg.norm(bodies.area_vectors, axis=1) >= AREA_M2
    return _any_face(bodies, invalid)


def _convex(bodies: Bodies) -> Bool:
    """Return which faces have a first ring that is convex; the holes of others don't matter here."""
    following = bodies.next_index
    ring = bodies.ring_of_index
    step = bodies.vertices[bodies.indices[following]] - bodies.vertices[bodies.indices]
    after = step[following]
    x = step[:, 1] * after[:, 2] - step[:, 2] * after[:, 1]
    y = step[:, 2] * after[:, 0] - step[:, 0] * after[:, 2]
    z = step[:, 0] * after[:, 1] - step[:, 1] * after[:, 0]
    normal = bodies.area_vectors[bodies.face_of_ring[ring]]
    normal = normal / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)[:, None]
    turn = x * normal[:, 0] + y * normal[:, 1] + z * normal[:, 2]
    along = np.einsum("ij,ij->i", step, after)
    around = np.add.reduceat(np.arctan2(turn, along), bodies.index_start[:-1])
    concave = np.logical_or.reduceat((turn < -_TURN) | ((np.abs(turn) <= _TURN) & (along < 0)), bodies.index_start[:-1])
    outer = bodies.ring_start[:-1]
    return np.asarray((~concave & (np.abs(around) < 3 * np.pi))[outer])


def _seen_largest(bodies: Bodies, faces: Int) -> np.ndarray:
    """Return faces as polygons in the coordinate plane onto which each projects largest."""
    polygons = np.full(len(faces), None, object)
    dropped = np.abs(bodies.area_vectors[faces]).argmax(axis=1)
    for axis in range(3):
        along_axis = faces[dropped == axis]
        if len(along_axis):
            plane_axes = [k for k in range(3) if k != axis]
            polygons[dropped == axis] = _polygons(bodies, along_axis, bodies.vertices[:, plane_axes])
    return polygons


def _polygons(bodies: Bodies, faces: Int, plane: Float) -> np.ndarray:
    rings_of_face = np.diff(bodies.ring_start)[faces]
    rings = ranges(bodies.ring_start[faces], rings_of_face)
    sizes = np.diff(bodies.index_start)[rings]
    points = plane[bodies.indices[ranges(bodies.index_start[rings], sizes)]]
    linear = shapely.linearrings(points, indices=np.repeat(np.arange(len(rings)), sizes))
    return np.asarray(shapely.polygons(linear, indices=np.repeat(np.arange(len(faces)), rings_of_face)))


FAULTS = (
    Fault("not_planar", f"a face leaves its plane by more than {PLANE_M * 100:g} cm", not_plane),
    Fault("zero_area", say("face-without-area"), without_area),
    Fault("not_orientable", say("faces-not-look-same-way"), not_orientable),
    Fault("not_manifold", say("edge-more-than-two-faces"), not_manifold),
    Fault("self_intersection", say("face-whose-outline-crosses-itself"), crossing),
    Fault("faces_cross", say("faces-pass-through-each-other"), piercing),
)


def find_faults(bodies: Bodies) -> list[Bool]:
    """Return for each kind of fault, in the order of `FAULTS`, which bodies have it. The bodies must be canonical."""
    if not len(bodies):
        return [np.empty(0, bool)] * len(FAULTS)
    return [fault.find(bodies) for fault in FAULTS]
