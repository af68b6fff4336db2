"""Symbols that stand for points: one mesh a form in each tile, drawn as often as the tile has points of it.

glTF 2.0 with EXT_mesh_gpu_instancing and EXT_instance_features: a tree costs 44 bytes and its attributes, not a mesh.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cim.catalog.model import Layer
from cim.geometry.body_batch import Float
from tiles.encode.gltf import Instances, Primitive, encode_instances
from tiles.frame import Frame
from tiles.levels import Content
from tiles.plan.quadtree import Cell, east_north_up, ecef, inverse_rigid

_CONIFERS = ("松", "柏", "杉", "pine", "spruce", "fir", "cedar", "juniper", "larch", "conifer")
_HEIGHT_M, _SHAPE = 7.0, 0.55  # of a tree of which nothing is known; crown width over height
# level → every n-th is shown, in how fine a mesh, with which error in metres
_SHOWN = {"detail": (1, 1, 0.0), "blocks": (1, 0, 1.2), "coarse": (3, 0, 6.0)}
_BARK, _LEAVES, _NEEDLES = (0.13, 0.085, 0.05), (0.13, 0.22, 0.07), (0.05, 0.125, 0.06)


@dataclass(frozen=True)
class _Form:
    name: str
    mesh: Sequence[tuple[str, tuple[float, float, float], Float, NDArray[np.uint32], Float]]  # material, colour, …


def build(
    level: str, rows: Sequence[Sequence[Any]], heights: Sequence[float], cell: Cell, layer: Layer, frame: Frame
) -> Content | None:
    """Build the content of a cell at a level of detail, None: too far away to show any.

    Args:
        level: a level of the tree.
        rows: (id, point as WKB, None, public fields…).
        heights: of the ground at each, metres in the city's vertical datum.
        cell: where.
        layer: of symbols.
        frame: the city's way to the globe.

    """
    if level not in _SHOWN:
        return None
    every, fine, error_m = _SHOWN[level]
    rows, heights = rows[::every], heights[::every]
    columns = dict(zip(("id", "", "", *(f.name for f in layer.public_fields)), zip(*rows, strict=True), strict=True))
    points = shapely.from_wkb(np.array([row[1] for row in rows], object))
    xyz = np.column_stack([shapely.get_x(points), shapely.get_y(points), heights])
    lon, lat, up = frame.globe(xyz)
    to_local = inverse_rigid(east_north_up(*cell.centre))
    local = ecef(lon, lat, up) @ to_local[:3, :3].T + to_local[:3, 3]
    tall = _numbers(columns, layer, "height", _HEIGHT_M)
    wide = _numbers(columns, layer, "width", np.nan)
    wide = np.where(np.isfinite(wide), wide, tall * _SHAPE)
    species = layer.field("use")
    names = [str(n or "").casefold() for n in columns[species.name]] if species else [""] * len(rows)
    conifer = np.array([any(word in name for word in _CONIFERS) for name in names])
    groups = []
    for form, chosen in ((_conifer(fine), conifer), (_broadleaf(fine), ~conifer)):
        index = np.flatnonzero(chosen)
        if len(index):
            turn = (np.array([_hash(columns["id"][i]) for i in index]) % 628) / 100.0
            groups.append(
                Instances(
                    form.name,
                    [_primitive(*part) for part in form.mesh],
                    translations=_y_up(local[index]),
                    rotations=_about_up(turn),
                    scales=np.stack([wide[index], tall[index], wide[index]], axis=1).astype(np.float32),
                    features=index.astype(np.float32),
                )
            )
    reach = float((wide / 2).max() * 1.5)
    degrees = np.degrees(reach / 6_350_000.0)
    aside = degrees / math.cos(math.radians(float(lat.mean())))
    region = (
        *np.radians([lon.min() - aside, lat.min() - degrees, lon.max() + aside, lat.max() + degrees]).tolist(),
        float(up.min() - 0.5),
        float((up + tall).max() + 0.1),
    )
    properties: dict[str, Sequence[Any]] = {name: values for name, values in columns.items() if name}
    return Content(encode_instances(groups, layer, properties), region, error_m)


def _numbers(columns: dict[str, Any], layer: Layer, role: Any, default: float) -> Float:
    field = layer.field(role)
    if field is None:
        return np.full(len(columns["id"]), default)
    values = np.array([np.nan if v is None else float(v) for v in columns[field.name]])
    return np.where(np.isfinite(values) & (values > 0), values, default)


def _hash(text: str) -> int:
    """Return a number from a text, the same on every machine (FNV-1a, 32 bit)."""
    value = 2166136261
    for byte in text.encode():
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def _about_up(angle: Float) -> NDArray[np.float32]:
    """Return quaternions x, y, z, w of turns about the axis y."""
    zero = np.zeros_like(angle)
    return np.stack([zero, np.sin(angle / 2), zero, np.cos(angle / 2)], axis=1).astype(np.float32)


def _y_up(vectors: Float) -> NDArray[np.float32]:
    return np.asarray(
        np.stack([vectors[:, 0], vectors[:, 2], -vectors[:, 1]], axis=1).astype(np.float32) + np.float32(0)
    )


def _primitive(
    name: str, color: tuple[float, float, float], points: Float, triangles: NDArray[np.uint32], normals: Float
) -> Primitive:
    return Primitive(
        material=name,
        color=color,
        positions=points.astype(np.float32),
        normals=normals.astype(np.float32),
        features=np.zeros(len(points), np.float32),
        heights=points[:, 1].astype(np.float32),
        triangles=triangles,
    )


@cache
def _broadleaf(fine: int) -> _Form:
    """Make a lumpy crown, wider than deep, of unit height and width; a trunk where it is seen from near."""
    points, triangles = _sphere(fine)
    lump = (
        1.0 + 0.13 * np.sin(5.1 * points[:, 0] + 1.7) * np.cos(4.3 * points[:, 2]) + 0.07 * np.sin(7.0 * points[:, 1])
    )
    crown = points * lump[:, None] * np.array([0.5, 0.37, 0.5]) + np.array([0.0, 0.62, 0.0])
    parts = [("Leaves", _LEAVES, crown, triangles, points)]
    return _Form("broadleaf", [*parts, _trunk(0.05, 0.4)] if fine else parts)


@cache
def _conifer(fine: int) -> _Form:
    """Make whorls of needles, each a cone, of unit height and width."""
    tiers = ((0.14, 0.62, 0.5), (0.38, 0.84, 0.38), (0.62, 1.0, 0.25)) if fine else ((0.12, 1.0, 0.48),)
    sides = 8 if fine else 5
    points: list[Float] = []
    normals: list[Float] = []
    triangles: list[NDArray[Any]] = []
    start = 0
    for low, high, radius in tiers:
        angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        ring = np.stack([radius * np.cos(angle), np.full(sides, low), radius * np.sin(angle)], axis=1)
        points.append(np.vstack([ring, [[0.0, high, 0.0]]]))
        slope = np.stack([np.cos(angle), np.full(sides, 0.55), np.sin(angle)], axis=1)
        normals.append(np.vstack([slope / np.hypot(1.0, 0.55), [[0.0, 1.0, 0.0]]]))
        k = np.arange(sides)
        triangles.append(np.stack([np.full(sides, sides), (k + 1) % sides, k], axis=1) + start)
        start += sides + 1
    parts = [("Needles", _NEEDLES, np.vstack(points), np.vstack(triangles).astype(np.uint32), np.vstack(normals))]
    return _Form("conifer", [*parts, _trunk(0.04, 0.2)] if fine else parts)


def _trunk(radius: float, top: float) -> tuple[str, tuple[float, float, float], Float, NDArray[np.uint32], Float]:
    angle = np.linspace(0, 2 * np.pi, 5, endpoint=False)
    around = np.stack([np.cos(angle), np.zeros(5), np.sin(angle)], axis=1)
    low, high = around * radius - [0, 0.02, 0], around * radius * 0.7 + [0, top, 0]
    k = np.arange(5)
    n = (k + 1) % 5
    triangles = np.vstack([np.stack([k, k + 5, n], axis=1), np.stack([n, k + 5, n + 5], axis=1)]).astype(np.uint32)
    return "Bark", _BARK, np.vstack([low, high]), triangles, np.vstack([around, around])


def _sphere(fine: int) -> tuple[Float, NDArray[np.uint32]]:
    """Return an octahedron, each face cut in four `fine` + 1 times at most twice, on the unit sphere."""
    points = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)
    faces = np.array([[2, 4, 0], [2, 1, 4], [2, 5, 1], [2, 0, 5], [3, 0, 4], [3, 4, 1], [3, 1, 5], [3, 5, 0]])
    for _ in range(fine + 1 if fine else 0):
        corners = points[faces]
        middles = (corners + np.roll(corners, -1, axis=1)) / 2
        a, b, c = (corners[:, k] for k in range(3))
        ab, bc, ca = (middles[:, k] for k in range(3))
        soup = np.concatenate([np.stack(t, axis=1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
        flat = soup.reshape(-1, 3)
        flat = flat / np.linalg.norm(flat, axis=1)[:, None]
        points, number = np.unique(np.round(flat, 9), axis=0, return_inverse=True)
        faces = number.reshape(-1, 3)
    return points, faces.astype(np.uint32)
