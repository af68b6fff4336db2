"""Measures and constructions over batches of bodies: array passes, never a call per building."""

from dataclasses import replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cim.geometry.body_batch import GROUND, ROOF, WALL, Bodies, Bool, Float, Int, from_sizes

Shapes = NDArray[Any]  # object array of shapely geometries

# A face counts as near-horizontal when its normal leans less than this from the vertical.
_HORIZONTAL_COS = np.cos(np.radians(15.0))
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


def reversed_faces(bodies: Bodies, wrong: Bool) -> Bodies:
    """Return the bodies with every ring of the `wrong` ones run through the other way."""
    ring = bodies.ring_of_index
    mirrored = bodies.index_start[ring] + bodies.index_start[ring + 1] - 1 - np.arange(len(bodies.indices))
    source = np.where(wrong[bodies.body_of_index], mirrored, np.arange(len(bodies.indices)))
    looks = bodies.appearance
    turned = looks and replace(looks, uv=looks.uv[source])
    return replace(bodies, indices=bodies.indices[source], appearance=turned)


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
    guessed = np.where(upward > _ROOF_COS, ROOF, np.where((upward < -_HORIZONTAL_COS) & foot, GROUND, WALL))
    return np.where(missing, guessed, bodies.face_class).astype(np.uint8)


def face_polygons(bodies: Bodies, faces: Bool | Int) -> Shapes:
    """Return faces as polygons in the plane (x, y), holes included."""
    wanted = np.flatnonzero(faces) if faces.dtype == bool else faces
    if not len(wanted):
        return np.empty(0, object)
    start, end = bodies.ring_start[wanted], bodies.ring_start[wanted + 1]
    rings = np.concatenate([np.arange(a, b) for a, b in zip(start, end, strict=True)])
    if len(rings) == len(wanted):
        rings = start  # the common case: no holes
    sizes = (bodies.index_start[1:] - bodies.index_start[:-1])[rings]
    positions = np.repeat(bodies.index_start[rings] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    xy = bodies.vertices[bodies.indices[positions + np.arange(sizes.sum())], :2]
    linear = shapely.linearrings(xy, indices=np.repeat(np.arange(len(rings)), sizes))
    return np.asarray(shapely.polygons(linear, indices=np.repeat(np.arange(len(wanted)), end - start)))


def footprints(bodies: Bodies) -> Shapes:
    """Return each body's footprint as a valid polygon or multipolygon, None where it has no area.

    Its ground surfaces; where it has none, its lowest near-horizontal faces, if they lie under most of it (they don't
    under a bridge's deck, which rises and falls); at last the union of all faces.
    """
    body = bodies.body_of_face
    ground = bodies.face_class == GROUND
    without = np.bincount(body[ground], minlength=len(bodies)) == 0
    if without.any():
        vectors = bodies.area_vectors
        upright = np.abs(vectors[:, 2]) > _HORIZONTAL_COS * np.linalg.norm(vectors, axis=1)
        z = bodies.vertices[bodies.indices[bodies.index_start[bodies.ring_start[:-1]]], 2]
        low, high = z_ranges(bodies)
        flat = (high - low) < 0.5
        lowest = upright & (z - low[body] < np.where(flat, np.inf, 0.5)[body])
        ground |= lowest & without[body]
        under = np.bincount(body[ground], np.abs(vectors[ground, 2]), len(bodies))
        all_of_it = np.bincount(body, np.abs(vectors[:, 2]), len(bodies)) / 2  # a closed body has each place twice
        still = without & (under < all_of_it / 2)
        ground |= still[body] & (np.abs(vectors[:, 2]) > 1e-6)
    return merged_polygons(face_polygons(bodies, ground), body[ground], len(bodies))


def merged_polygons(polygons: Shapes, owner: Int, count: int) -> Shapes:
    """Return one valid geometry an owner: the polygon itself, or the union of several; None for an owner of none."""
    invalid = ~shapely.is_valid(polygons)
    if invalid.any():
        polygons = polygons.copy()
        polygons[invalid] = shapely.make_valid(polygons[invalid])
    merged = np.full(count, None, object)
    order = np.argsort(owner, kind="stable")
    groups, start, size = np.unique(owner[order], return_index=True, return_counts=True)
    single = size == 1
    merged[groups[single]] = polygons[order[start[single]]]
    for group, first, length in zip(groups[~single], start[~single], size[~single], strict=True):
        merged[group] = shapely.union_all(polygons[order[first : first + length]], grid_size=1e-4)
    return as_multipolygons(merged)


def as_multipolygons(shapes: Shapes) -> Shapes:
    """Return polygons and multipolygons as MultiPolygon; other parts of a collection are dropped; None if no area."""
    result = np.full(len(shapes), None, object)
    kinds = shapely.get_type_id(shapes)
    polygon = kinds == shapely.GeometryType.POLYGON
    result[polygon] = shapely.multipolygons(np.asarray(shapes[polygon]).reshape(-1, 1)) if polygon.any() else None
    multi = kinds == shapely.GeometryType.MULTIPOLYGON
    result[multi] = shapes[multi]
    for position in np.flatnonzero(kinds == shapely.GeometryType.GEOMETRYCOLLECTION):
        parts = [p for p in shapely.get_parts(shapes[position]) if "Polygon" in p.geom_type]
        result[position] = shapely.multipolygons(shapely.get_parts(shapely.multipolygons(shapely.get_parts(parts))))
    result[shapely.is_empty(result)] = None
    return result


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
