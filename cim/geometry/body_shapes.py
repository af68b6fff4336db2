"""Bodies as the geometries that files and clients of features know: a MultiPolygon with heights each, and back."""

from dataclasses import dataclass

import numpy as np
import shapely

from cim.geometry.body_batch import Bodies, Int, empty, from_sizes
from cim.geometry.canonical import canonical
from cim.geometry.outlines import Shapes


def multipolygons(bodies: Bodies) -> Shapes:
    """Return each body as a MultiPolygon Z of its faces, holes included: (B,), in the bodies' coordinates.

    The normal of a face is that of its outer ring, so that volume and orientation come back from it.
    """
    shapes = np.full(len(bodies), None, object)
    if not len(bodies.indices):
        return shapes
    corners = bodies.vertices[bodies.indices]
    rings = shapely.linearrings(corners, indices=bodies.ring_of_index)
    polygons = shapely.polygons(rings, indices=bodies.face_of_ring)
    with_faces = np.diff(bodies.face_start) > 0
    shapes[with_faces] = shapely.multipolygons(polygons, indices=bodies.body_of_face)[with_faces]
    return shapes


@dataclass(frozen=True)
class ReadBodies:
    """Bodies that geometries are, and which of the geometries those were."""

    bodies: Bodies
    positions: Int  # (B,) of the geometries


def bodies_of(shapes: Shapes) -> ReadBodies:
    """Return the bodies of those geometries that are a MultiPolygon with heights; other ones are none.

    Args:
        shapes: (n,) in metres; their faces have no class.

    """
    solid = (shapely.get_type_id(shapes) == shapely.GeometryType.MULTIPOLYGON) & shapely.has_z(shapes)
    positions = np.flatnonzero(solid & ~shapely.is_empty(shapes))
    if not len(positions):
        return ReadBodies(empty(), positions)
    polygons, body_of_face = shapely.get_parts(shapes[positions], return_index=True)
    rings, face_of_ring = shapely.get_rings(polygons, return_index=True)
    corners, ring_of_index = shapely.get_coordinates(rings, include_z=True, return_index=True)
    sizes = np.bincount(ring_of_index, minlength=len(rings))
    closing = np.cumsum(sizes) - 1  # the last point of a ring is its first
    open_rings = from_sizes(
        corners,
        np.delete(np.arange(len(corners)), closing),
        sizes - 1,
        np.bincount(face_of_ring, minlength=len(polygons)),
        np.bincount(body_of_face, minlength=len(positions)),
        np.zeros(len(polygons), np.uint8),
    )
    standing = canonical(open_rings)
    return ReadBodies(standing.bodies, positions[standing.valid])
