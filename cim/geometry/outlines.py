"""The flat outlines of bodies: faces as polygons, footprints, and unions of them."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cim.geometry.body_batch import GROUND, Bodies, Bool, Int
from cim.geometry.measures import HORIZONTAL_COS, z_ranges

Shapes = NDArray[Any]  # object array of shapely geometries


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
        upright = np.abs(vectors[:, 2]) > HORIZONTAL_COS * np.linalg.norm(vectors, axis=1)
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
