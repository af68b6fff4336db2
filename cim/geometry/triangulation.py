"""Faces cut into triangles."""

import numpy as np

from cim.geometry.body_batch import Bodies, Bool, Float, Int


def triangulate(bodies: Bodies) -> tuple[Int, Int]:
    """Return the triangles of all faces, (T, 3) positions in `indices`, and the face of each, (T,).

    Positions rather than vertices, so that a renderer can give each face corners of its own.
    Triangles and convex quads in array passes; the few other faces go through earcut in the plane they lie flattest in.
    """
    vectors = bodies.area_vectors
    first_ring = bodies.ring_start[:-1]
    start = bodies.index_start[first_ring]
    size = bodies.index_start[first_ring + 1] - start
    simple = np.diff(bodies.ring_start) == 1
    three = np.flatnonzero(simple & (size == 3))
    four = np.flatnonzero(simple & (size == 4))
    quads = start[four][:, None] + np.arange(4)
    split, convex = _split_quads(bodies.vertices[bodies.indices[quads]], vectors[four])
    corners = np.where(split[:, None], [[0, 1, 2, 0, 2, 3]], [[1, 2, 3, 1, 3, 0]])
    triangles = [
        start[three][:, None] + np.arange(3),
        np.take_along_axis(quads, corners, axis=1)[convex].reshape(-1, 3),
    ]
    faces = [three, np.repeat(four[convex], 2)]
    rest = np.concatenate([np.flatnonzero(~simple | (size > 4)), four[~convex]])
    for face in np.sort(rest):
        cut = _earcut(bodies, face, vectors[face])
        triangles.append(cut)
        faces.append(np.full(len(cut), face))
    return np.concatenate(triangles), np.concatenate(faces)


def _split_quads(corners: Float, vectors: Float) -> tuple[Bool, Bool]:
    """Return for each quad whether to cut from corner 0 (else from 1), and whether either cut keeps its orientation."""

    def positive(a: int, b: int, c: int) -> Bool:
        cross = np.cross(corners[:, b] - corners[:, a], corners[:, c] - corners[:, a])
        return np.asarray(np.einsum("ij,ij->i", cross, vectors) > 0)

    from_first = positive(0, 1, 2) & positive(0, 2, 3)
    return from_first, from_first | (positive(1, 2, 3) & positive(1, 3, 0))


def _earcut(bodies: Bodies, face: int, vector: Float) -> Int:
    import mapbox_earcut

    rings = slice(bodies.ring_start[face], bodies.ring_start[face + 1] + 1)
    bounds = bodies.index_start[rings]
    indices = bodies.indices[bounds[0] : bounds[-1]]
    axis = int(np.argmax(np.abs(vector)))
    plane = [(1, 2), (2, 0), (0, 1)][axis]
    points = bodies.vertices[indices][:, plane]
    local = points - points[0]
    if vector[axis] < 0:
        local = local[:, ::-1]
    cut = mapbox_earcut.triangulate_float64(np.ascontiguousarray(local), (bounds[1:] - bounds[0]).astype(np.uint32))
    corners = cut.reshape(-1, 3)
    a, b, c = (local[corners[:, k]] for k in range(3))
    area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    corners = np.where((area < 0)[:, None], corners[:, ::-1], corners)
    return np.asarray(bounds[0] + corners[area != 0])
