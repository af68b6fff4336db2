"""Measures of bodies: volumes, heights, whether they are closed, what their faces are; a value a body or a face."""

import numpy as np
from numpy.typing import NDArray

from cim.geometry.body_batch import GROUND, ROOF, WALL, Bodies, Bool, Float, Int

# A face counts as near-horizontal when its normal leans less than this from the vertical.
HORIZONTAL_COS = np.cos(np.radians(15.0))
_ROOF_COS = np.cos(np.radians(80.0))  # steeper than 80° is a wall


def volumes(bodies: Bodies) -> Float:
    """Return the signed volume of each body in m³, by the divergence theorem; meaningful where it is closed."""
    vectors = bodies.area_vectors
    first = bodies.indices[bodies.index_start[bodies.ring_start[:-1]]]
    body = bodies.body_of_face
    origin = bodies.vertices[first[bodies.face_start[:-1]]]
    heights = np.einsum("ij,ij->i", bodies.vertices[first] - origin[body], vectors)
    return np.bincount(body, heights, minlength=len(bodies)) / 3.0


def closed(bodies: Bodies) -> Bool:
    """Return whether each body's surface is closed: every edge is run through as often one way as the other.

    Each edge gets a random number, added one way and subtracted the other: the sum over a body is zero where its edges
    cancel, and by chance in one of 2⁶⁴ bodies where they don't. So no edge is looked for.
    """
    start, end = bodies.indices, bodies.indices[bodies.next_index]
    number = _scrambled(np.minimum(start, end) * len(bodies.vertices) + np.maximum(start, end))
    signed = np.append(np.where(start < end, number, -number), 0)
    first = bodies.index_start[bodies.ring_start[bodies.face_start[:-1]]]
    return np.asarray(np.add.reduceat(signed, first) == 0) if len(first) else np.empty(0, bool)


def _scrambled(keys: Int) -> Int:
    """Return a number that looks random for each key: the mixing steps of SplitMix64 (Steele, Lea, Flood 2014)."""
    mixed = keys.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return (mixed ^ (mixed >> np.uint64(31))).view(np.int64)


def z_ranges(bodies: Bodies) -> tuple[Float, Float]:
    """Return the lowest and the highest vertex of each body, in metres."""
    z = bodies.vertices[bodies.indices, 2]
    first = bodies.index_start[bodies.ring_start[bodies.face_start[:-1]]]
    if not len(first):
        return np.empty(0), np.empty(0)
    return np.minimum.reduceat(z, first), np.maximum.reduceat(z, first)


def surface_classes(bodies: Bodies) -> NDArray[np.uint8]:
    """Return the semantic class of each face; where the source gave none, by the face's slope.

    Down and within 0.5 m of the body's foot is ground, up is roof, the rest wall.
    """
    missing = bodies.face_class == 0
    if not missing.any():
        return bodies.face_class
    vectors = bodies.area_vectors
    upward = vectors[:, 2] / np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)
    low, _ = z_ranges(bodies)
    z = bodies.vertices[bodies.indices[bodies.index_start[bodies.ring_start[:-1]]], 2]
    foot = z - low[bodies.body_of_face] < 0.5
    guessed = np.where(upward > _ROOF_COS, ROOF, np.where((upward < -HORIZONTAL_COS) & foot, GROUND, WALL))
    return np.where(missing, guessed, bodies.face_class).astype(np.uint8)
