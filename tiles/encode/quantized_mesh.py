"""quantized-mesh 1.0: a terrain tile as a mesh of 16-bit vertices, with oct-encoded normals.

Format: https://github.com/CesiumGS/quantized-mesh . A tile is, in this order:

| part | layout |
|---|---|
| header | centre float64×3 · lowest, highest float32 · sphere centre, radius float64×4 · horizon point float64×3 |
| vertices | count uint32 · u, v, height uint16, each zigzag of differences |
| triangles | count uint32 · uint16 indices, high-water mark |
| edges | west, south, east, north: count uint32 · uint16 indices |
| normals | extension 1: id uint8 · length uint32 · two bytes a vertex |
"""

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tiles.plan.quadtree import FLATTENING, SEMI_MAJOR_M, Cell, Float, ecef

RANGE = 32_767  # u, v and height run from 0 to this
_OCT_NORMALS = 1
_FAR = 1000.0  # radii of the ellipsoid


@dataclass(frozen=True)
class Mesh:
    """A terrain tile's mesh over its cell."""

    u: NDArray[np.uint16]  # (n,) west to east
    v: NDArray[np.uint16]  # (n,) south to north
    height_m: Float  # (n,) ellipsoidal
    normals: Float  # (n, 3) unit, earth-centred
    triangles: NDArray[np.int64]  # (t, 3) counter-clockwise seen from above


def grid_mesh(cell: Cell, heights: Float) -> Mesh:
    """Return the mesh of a regular grid of ellipsoidal heights.

    Args:
        cell: the tile's.
        heights: (n + 2, n + 2) metres, rows from south to north, with one node beyond each edge, so that normals
            agree with the neighbours'.

    """
    n = heights.shape[0] - 2
    steps = np.linspace(0, RANGE, n).round().astype(np.uint16)
    u, v = np.meshgrid(steps, steps)
    west, south, east, north = cell.degrees
    lon = west + (east - west) * np.arange(-1, n + 1) / (n - 1)
    lat = south + (north - south) * np.arange(-1, n + 1) / (n - 1)
    lon_grid, lat_grid = np.meshgrid(lon, np.clip(lat, -90, 90))
    points = ecef(lon_grid, lat_grid, heights)
    eastward = points[1:-1, 2:] - points[1:-1, :-2]
    northward = points[2:, 1:-1] - points[:-2, 1:-1]
    across = np.cross(eastward, northward).reshape(-1, 3)
    length = np.linalg.norm(across, axis=1)[:, None]
    up = points[1:-1, 1:-1].reshape(-1, 3) / SEMI_MAJOR_M
    normals: Float = np.where(
        length > 1e-6, across / np.maximum(length, 1e-6), up
    )  # at a pole the eastward step is none
    corner = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    lower = np.stack([corner, corner + 1, corner + n], axis=1)
    upper = np.stack([corner + 1, corner + n + 1, corner + n], axis=1)
    triangles = np.stack([lower, upper], axis=1).reshape(-1, 3)
    return Mesh(u.ravel(), v.ravel(), heights[1:-1, 1:-1].ravel(), normals, triangles)


def encode(cell: Cell, mesh: Mesh, reach: tuple[float, float] | None = None) -> bytes:
    """Return the bytes of a tile.

    Args:
        cell: the tile's.
        mesh: over it.
        reach: lowest and highest of all that lies below the tile in the tree, ellipsoidal metres. A coarse mesh passes
            over valleys; a client that stands in one must not take the tile for something above its head.

    """
    mesh = _in_order_of_use(mesh)
    low, high = float(mesh.height_m.min()), float(mesh.height_m.max())
    rise = 0.0
    if reach:
        rise = max(low - reach[0], reach[1] - high, 0.0)
        low, high = min(low, reach[0]), max(high, reach[1])
    # stated as float32: widened, so that no vertex lies outside
    low32, high32 = np.nextafter(np.float32(low), np.float32(-1e9)), np.nextafter(np.float32(high), np.float32(1e9))
    quantized = ((mesh.height_m - low32) / (high32 - low32) * RANGE).round().astype(np.uint16)
    west, south, east, north = cell.degrees
    lon = west + (east - west) * mesh.u / RANGE
    lat = south + (north - south) * mesh.v / RANGE
    points = ecef(lon, lat, mesh.height_m)
    centre = (points.min(axis=0) + points.max(axis=0)) / 2
    radius = float(np.linalg.norm(points - centre, axis=1).max()) + rise
    return b"".join(
        (
            struct.pack("<3d2f", *centre, low32, high32),
            struct.pack("<3dd", *centre, radius),
            struct.pack("<3d", *_horizon_point(points, centre)),
            struct.pack("<I", len(mesh.u)),
            *(_zigzag(part) for part in (mesh.u, mesh.v, quantized)),
            struct.pack("<I", len(mesh.triangles)),
            _high_water_mark(mesh.triangles),
            *(_edge(mask) for mask in (mesh.u == 0, mesh.v == 0, mesh.u == RANGE, mesh.v == RANGE)),
            struct.pack("<BI", _OCT_NORMALS, 2 * len(mesh.u)),
            _oct_encoded(mesh.normals),
        )
    )


def _in_order_of_use(mesh: Mesh) -> Mesh:
    """Return the mesh with its vertices in the order of first use, which the high-water mark needs."""
    used, first, inverse = np.unique(mesh.triangles.ravel(), return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(used), np.int64)
    rank[order] = np.arange(len(used))
    vertices = used[order]
    return Mesh(
        mesh.u[vertices],
        mesh.v[vertices],
        mesh.height_m[vertices],
        mesh.normals[vertices],
        rank[inverse].reshape(-1, 3),
    )


def _zigzag(values: NDArray[np.uint16]) -> bytes:
    steps = np.diff(values.astype(np.int32), prepend=0)
    return ((steps << 1) ^ (steps >> 31)).astype("<u2").tobytes()


def _high_water_mark(triangles: NDArray[np.int64]) -> bytes:
    """Code each index as its distance from the next one not used yet."""
    indices = triangles.ravel()
    highest = np.maximum.accumulate(np.concatenate([[-1], indices[:-1]])) + 1
    return (highest - indices).astype("<u2").tobytes()


def _edge(on_edge: NDArray[np.bool_]) -> bytes:
    indices = np.flatnonzero(on_edge)
    return struct.pack("<I", len(indices)) + indices.astype("<u2").tobytes()


def _oct_encoded(normals: Float) -> bytes:
    """Fold the unit sphere onto an octahedron (Cigolle et al. 2014, "Survey of efficient representations")."""
    flat = normals / np.abs(normals).sum(axis=1)[:, None]
    xy = flat[:, :2]
    folded = (1 - np.abs(xy[:, ::-1])) * np.where(xy >= 0, 1.0, -1.0)
    xy = np.where(flat[:, 2:] < 0, folded, xy)
    return np.clip(np.rint((xy * 0.5 + 0.5) * 255), 0, 255).astype(np.uint8).tobytes()


def _horizon_point(points: Float, centre: Float) -> Float:
    """Return the point below whose horizon the whole tile is hidden, in units of the ellipsoid's radii.

    K. Ring, "Computing the horizon occlusion point", 2013: the farthest, along the centre's direction, of the
    points from which each vertex is just visible.
    """
    radii = np.array([SEMI_MAJOR_M, SEMI_MAJOR_M, SEMI_MAJOR_M * (1 - FLATTENING)])
    scaled = points / radii
    direction = centre / radii
    length = np.linalg.norm(direction)
    if length < 1e-6:
        return np.array([0.0, 0.0, _FAR])
    direction = direction / length
    squared = np.maximum(np.einsum("ij,ij->i", scaled, scaled), 1.0)
    magnitude = np.sqrt(squared)
    cos_alpha = scaled @ direction / magnitude
    sin_alpha = np.linalg.norm(np.cross(scaled, direction), axis=1) / magnitude
    cos_beta = 1 / magnitude
    sin_beta = np.sqrt(squared - 1) * cos_beta
    slack = cos_alpha * cos_beta - sin_alpha * sin_beta
    if (slack <= 0).any():
        return np.asarray(direction * _FAR)  # more than a hemisphere: nothing hides it
    return np.asarray(direction / slack.min())
