"""Bodies made of footprints: prisms."""

import numpy as np
import shapely

from cim.geometry.body_batch import GROUND, ROOF, WALL, Bodies, Float, from_sizes
from cim.geometry.outlines import Shapes


def extrude(footprints: Shapes, base_m: Float, height_m: Float) -> Bodies:
    """Return prisms over footprints: LoD1 bodies with ground, walls and roof.

    Args:
        footprints: (n,) MultiPolygon, valid; their own Z isn't looked at.
        base_m: (n,) height of the ground face.
        height_m: (n,) height of the prism, positive.

    """
    parts, owner = shapely.get_parts(shapely.force_2d(footprints), return_index=True)
    parts = shapely.orient_polygons(parts)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    xy, ring_of_point = shapely.get_coordinates(rings, return_index=True)
    last = np.append(ring_of_point[1:] != ring_of_point[:-1], True)  # a ring's first point stands again at its end
    xy, ring_of_point = xy[~last], ring_of_point[~last]
    ring_sizes = np.bincount(ring_of_point, minlength=len(rings))
    rings_per_part = np.bincount(part_of_ring, minlength=len(parts))
    body = owner[part_of_ring[ring_of_point]]
    n = len(xy)
    vertices = np.empty((2 * n, 3))
    vertices[:, :2] = np.concatenate([xy, xy])
    vertices[:n, 2] = base_m[body]
    vertices[n:, 2] = (base_m + height_m)[body]

    # each body: ground faces, roof faces, walls
    start = np.concatenate([[0], np.cumsum(ring_sizes)])
    backward = np.repeat(start[:-1] + start[1:] - 1, ring_sizes) - np.arange(n)
    following = np.arange(1, n + 1)
    following[start[1:] - 1] = start[:-1]
    point = np.arange(n)
    quads = np.stack([point, following, following + n, point + n], axis=1).ravel()
    index_key = np.concatenate([body * 3, body * 3 + 1, np.repeat(body * 3 + 2, 4)])
    ring_key = np.concatenate([owner[part_of_ring] * 3, owner[part_of_ring] * 3 + 1, body * 3 + 2])
    face_key = np.concatenate([owner * 3, owner * 3 + 1, body * 3 + 2])
    face_order = np.argsort(face_key, kind="stable")
    return from_sizes(
        vertices,
        np.concatenate([backward, point + n, quads])[np.argsort(index_key, kind="stable")],
        np.concatenate([ring_sizes, ring_sizes, np.full(n, 4)])[np.argsort(ring_key, kind="stable")],
        np.concatenate([rings_per_part, rings_per_part, np.ones(n, np.int64)])[face_order],
        np.bincount(face_key // 3, minlength=len(footprints)),
        np.concatenate([np.full(len(parts), GROUND), np.full(len(parts), ROOF), np.full(n, WALL)])[face_order],
    )
