"""Faces of one body that pass through each other: a wall through a roof, a part pushed into its neighbour.

A convex body has none. Of the others, the triangles whose boxes meet are tested in pairs: an edge that runs from one
side of a triangle's plane to the other, through its inside, pierces it (Möller, Trumbore 1997, with a margin).
"""

import numpy as np
import shapely
from numpy.typing import NDArray

from cim.geometry.body_batch import Bodies, Bool, Float, ranges, select
from cim.geometry.triangulation import triangulate

MARGIN_M = 0.01  # what reaches through by less touches: faces may leave their planes by as much
_MOST_PAIRS = 20_000  # of a face and a vertex, up to which a body is tested for being convex
_AT_ONCE = 2_000_000  # pairs


def piercing(bodies: Bodies) -> Bool:
    """Return which bodies have a face that another one passes through; the bodies must be canonical."""
    pierced = np.zeros(len(bodies), bool)
    suspect = np.flatnonzero(~_convex_bodies(bodies))
    if len(suspect):
        pierced[suspect] = _pierced(select(bodies, suspect))
    return pierced


def _convex_bodies(bodies: Bodies) -> Bool:
    """Return which bodies lie on one side of each of their faces; one of very many faces isn't looked at."""
    faces = np.diff(bodies.face_start)
    first_index = bodies.index_start[bodies.ring_start[bodies.face_start]]
    first_vertex = np.append(bodies.indices[first_index[:-1]], len(bodies.vertices))
    vertices = np.diff(first_vertex)
    small = faces * vertices <= _MOST_PAIRS
    convex = np.zeros(len(bodies), bool)
    vectors = bodies.area_vectors
    normals = vectors / np.maximum(np.linalg.norm(vectors, axis=1), 1e-12)[:, None]
    on_face = bodies.vertices[bodies.indices[bodies.index_start[bodies.ring_start[:-1]]]]
    offsets = np.einsum("ij,ij->i", normals, on_face)
    sizes = np.where(small, faces * vertices, 0)
    begin = 0
    while begin < len(bodies):
        end = max(begin + 1, int(np.searchsorted(np.cumsum(sizes[begin:]), _AT_ONCE, side="right")) + begin)
        batch = np.arange(begin, end)[small[begin:end]]
        body_of_face = np.repeat(batch, faces[batch])
        face = ranges(bodies.face_start[batch], faces[batch])
        count = vertices[body_of_face]
        vertex = ranges(first_vertex[body_of_face], count)
        pair_face = np.repeat(face, count)
        beyond = np.einsum("ij,ij->i", normals[pair_face], bodies.vertices[vertex]) - offsets[pair_face] > MARGIN_M
        outside = np.bincount(bodies.body_of_face[pair_face[beyond]], minlength=len(bodies)) > 0
        convex[batch] = ~outside[batch]
        begin = end
    return convex


def _pierced(bodies: Bodies) -> Bool:
    corners, face = triangulate(bodies)
    vertex = bodies.indices[corners]  # (T, 3)
    triangles = bodies.vertices[vertex]
    low, high = triangles.min(axis=1), triangles.max(axis=1)
    owner = bodies.body_of_face[face]
    boxes = shapely.box(low[:, 0], low[:, 1], high[:, 0], high[:, 1])
    one, other = shapely.STRtree(boxes).query(boxes)
    meet = (one != other) & (owner[one] == owner[other]) & (face[one] != face[other])
    meet &= (low[one, 2] < high[other, 2]) & (low[other, 2] < high[one, 2])
    one, other = one[meet], other[meet]
    pierced = np.zeros(len(bodies), bool)
    for begin in range(0, len(one), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        hit = _edges_through(triangles[one[part]], triangles[other[part]])
        pierced[owner[one[part][hit]]] = True
    return pierced


def _edges_through(edges_of: Float, through: Float) -> NDArray[np.bool_]:
    """Return for each pair of triangles (n, 3, 3) whether an edge of the first runs through the second."""
    origin = through[:, 0]
    u, v = through[:, 1] - origin, through[:, 2] - origin
    normal = np.cross(u, v)
    length = np.linalg.norm(normal, axis=1)
    flat = length < MARGIN_M**2
    normal = normal / np.maximum(length, 1e-30)[:, None]
    side = np.einsum("nkj,nj->nk", edges_of - origin[:, None], normal)
    hit = np.zeros(len(through), bool)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        a, b = side[:, start], side[:, end]
        crosses = (np.minimum(a, b) < -MARGIN_M) & (np.maximum(a, b) > MARGIN_M) & ~flat
        if not crosses.any():
            continue
        k = np.flatnonzero(crosses)
        share = a[k] / (a[k] - b[k])
        place = edges_of[k, start] + share[:, None] * (edges_of[k, end] - edges_of[k, start])
        hit[k] |= _inside(place, through[k], normal[k])
    return hit


def _inside(places: Float, triangles: Float, normals: Float) -> NDArray[np.bool_]:
    """Return which places, each in the plane of its triangle, lie inside it by more than the margin."""
    inside = np.ones(len(places), bool)
    for start, end in ((0, 1), (1, 2), (2, 0)):
        edge = triangles[:, end] - triangles[:, start]
        inward = np.cross(normals, edge / np.maximum(np.linalg.norm(edge, axis=1), 1e-12)[:, None])
        inside &= np.einsum("ij,ij->i", places - triangles[:, start], inward) > MARGIN_M
    return inside
