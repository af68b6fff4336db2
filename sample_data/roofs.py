"""Solids of the sample's buildings: walls and a roof of some form, as CityJSON boundaries with semantics.

All are closed: each edge is shared by two faces. A form that doesn't fit its footprint is drawn flat.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely import Polygon

Ring = list[int]
Points = NDArray[np.float64]
PITCH = 0.42  # rise over run of the roofs, about 23°
PARAPET_M, PARAPET_WIDE_M = 0.9, 0.35


@dataclass(frozen=True)
class Solid:
    """A closed solid: vertices x, y, z and faces of rings, each with its semantic class."""

    vertices: list[tuple[float, float, float]]
    faces: list[list[Ring]]
    classes: list[str]


class _Shell:
    """A solid as it grows, ring by ring."""

    def __init__(self) -> None:
        self.vertices: list[tuple[float, float, float]] = []
        self.faces: list[list[Ring]] = []
        self.classes: list[str] = []

    def ring(self, points: Points, z: float | Points) -> Ring:
        start = len(self.vertices)
        heights = np.broadcast_to(z, len(points)).tolist()
        self.vertices += [(x, y, h) for (x, y), h in zip(points[:, :2].tolist(), heights, strict=True)]
        return list(range(start, len(self.vertices)))

    def face(self, kind: str, *rings: Ring) -> None:
        self.faces.append(list(rings))
        self.classes.append(kind)

    def band(self, kind: str, low: Ring, high: Ring) -> None:
        """Join two rings of like length by quads; with the solid to the left of `low`, they look outwards."""
        for k in range(len(low)):
            n = (k + 1) % len(low)
            self.face(kind, [low[k], low[n], high[n], high[k]])

    def done(self) -> Solid:
        return Solid(self.vertices, self.faces, self.classes)


def solid(footprint: Polygon, base_m: float, eaves_m: float, roof: str) -> Solid:
    """Return the solid of a footprint: its foot, the height of its walls above it, the form of its roof."""
    footprint = shapely.orient_polygons(footprint)
    rings = [shapely.get_coordinates(r)[:-1, :2] for r in (footprint.exterior, *footprint.interiors)]
    made = _ROOFS.get(roof, _flat)(rings, base_m, base_m + eaves_m) or _flat(rings, base_m, base_m + eaves_m)
    return made.done()


def _walls(shell: _Shell, rings: Sequence[Points], base: float, top: float) -> list[Ring]:
    feet = [shell.ring(ring, base) for ring in rings]
    heads = [shell.ring(ring, top) for ring in rings]
    shell.face("GroundSurface", *(ring[::-1] for ring in feet))
    for low, high in zip(feet, heads, strict=True):
        shell.band("WallSurface", low, high)
    return heads


def _flat(rings: Sequence[Points], base: float, top: float) -> _Shell:
    shell = _Shell()
    shell.face("RoofSurface", *_walls(shell, rings, base, top))
    return shell


def _parapet(rings: Sequence[Points], base: float, top: float) -> _Shell | None:
    """Put a flat roof behind a parapet; on a large one stands the head of the stairs."""
    inner = [_inset(ring, PARAPET_WIDE_M) for ring in rings]
    room = _whole(inner)
    if room is None:
        return None
    shell = _Shell()
    heads = _walls(shell, rings, base, top + PARAPET_M)
    floors = []
    for head, ring in zip(heads, inner, strict=True):
        edge = shell.ring(ring, top + PARAPET_M)
        floor = shell.ring(ring, top)
        shell.band("RoofSurface", head, edge)
        shell.band("WallSurface", edge, floor)
        floors.append(floor)
    hut = _hut(room)
    if hut is None:
        shell.face("RoofSurface", *floors)
        return shell
    foot, head = shell.ring(hut, top), shell.ring(hut, top + 2.9)
    shell.face("RoofSurface", *floors, foot[::-1])
    shell.band("WallSurface", foot, head)
    shell.face("RoofSurface", head)
    return shell


def _hut(room: Polygon) -> Points | None:
    """Return the stair head on a roof: near its middle, turned with its longest side."""
    if room.area < 130:
        return None
    corners = shapely.get_coordinates(room.minimum_rotated_rectangle)[:4]
    a, b = corners[1] - corners[0], corners[3] - corners[0]
    u, v = (a, b) if np.hypot(*a) >= np.hypot(*b) else (b, a)
    u, v = u / np.hypot(*u), v / np.hypot(*v)
    middle = shapely.get_coordinates(room.representative_point())[0]
    box = np.array([middle + i * 2.6 * u + j * 1.9 * v for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    ring = shapely.orient_polygons(Polygon(box))
    return shapely.get_coordinates(ring)[:-1] if room.buffer(-0.4).contains(ring) else None


def _mansard(rings: Sequence[Points], base: float, top: float) -> _Shell | None:
    """Lean slopes from every eaves to a flat top: what a roof of an L, a U or a court looks like."""
    for run in (4.4, 3.2, 2.2, 1.4):
        inner = [_inset(ring, run) for ring in rings]
        if _whole(inner) is not None:
            break
    else:
        return None
    shell = _Shell()
    heads = _walls(shell, rings, base, top)
    crowns = [shell.ring(ring, top + run * 0.55) for ring in inner]
    for head, crown in zip(heads, crowns, strict=True):
        shell.band("RoofSurface", head, crown)
    shell.face("RoofSurface", *crowns)
    return shell


def _hip(rings: Sequence[Points], base: float, top: float) -> _Shell | None:
    """Put a ridge along the longer side; the ends lean in as steeply as the sides."""
    if len(rings) != 1 or len(rings[0]) != 4:
        return _mansard(rings, base, top)
    a, b, c, d = _longest_first(rings[0])
    long, short = np.hypot(*(b - a)), np.hypot(*(c - b))
    inset = min(short / 2, long / 2 - 0.5) / long
    west, east = (a + d) / 2, (b + c) / 2
    shell = _Shell()
    (head,) = _walls(shell, [np.array([a, b, c, d])], base, top)
    r0, r1 = shell.ring(np.array([west + (east - west) * inset, east - (east - west) * inset]), top + short / 2 * PITCH)
    for face in (
        [head[0], head[1], r1, r0],
        [head[1], head[2], r1],
        [head[2], head[3], r0, r1],
        [head[3], head[0], r0],
    ):
        shell.face("RoofSurface", face)
    return shell


def _profiled(profile: Callable[[float], list[tuple[float, float]]], *, across: bool = True) -> "Maker":
    """Return the maker of a roof that is one profile drawn along the ridge; the profile: (share of the depth, rise)."""

    def make(rings: Sequence[Points], base: float, top: float) -> _Shell | None:
        if len(rings) != 1 or len(rings[0]) != 4:
            return _mansard(rings, base, top)
        a, b, c, d = _longest_first(rings[0])
        if not across:
            a, b, c, d = b, c, d, a
        shape = profile(float(np.hypot(*(c - b))))
        share = np.array([u for u, _ in shape])[:, None]
        z = top + np.array([rise for _, rise in shape])
        shell = _Shell()
        foot = shell.ring(np.array([a, b, c, d]), base)
        east = shell.ring(b + (c - b) * share, z)  # up the profile at one end, and at the other
        west = shell.ring(a + (d - a) * share, z)
        shell.face("GroundSurface", foot[::-1])
        shell.face("WallSurface", [foot[0], foot[1], east[0], west[0]])
        shell.face("WallSurface", [foot[2], foot[3], west[-1], east[-1]])
        shell.face("WallSurface", [foot[1], foot[2], *east[::-1]])
        shell.face("WallSurface", [foot[3], foot[0], *west])
        for k in range(len(shape) - 1):
            upright = abs(shape[k + 1][0] - shape[k][0]) * np.hypot(*(c - b)) < 0.05
            shell.face("WallSurface" if upright else "RoofSurface", [west[k], east[k], east[k + 1], west[k + 1]])
        return shell

    return make


def _gable(depth: float) -> list[tuple[float, float]]:
    return [(0.0, 0.0), (0.5, depth / 2 * PITCH), (1.0, 0.0)]


def _shed(depth: float) -> list[tuple[float, float]]:
    return [(0.0, 0.0), (1.0, min(depth * 0.16, 2.6))]


def _vault(depth: float) -> list[tuple[float, float]]:
    angles = np.linspace(np.pi, 0, 9)
    return [((1 + float(np.cos(a))) / 2, max(depth * 0.2 * float(np.sin(a)), 0.0)) for a in angles]


def _saw(depth: float) -> list[tuple[float, float]]:
    """Teeth that look north: a slope up, and an upright window, which leans by a hand so that no two corners meet."""
    teeth = max(2, round(depth / 9.0))
    rows: list[tuple[float, float]] = []
    for k in range(teeth):
        rows += [(k / teeth, 0.0), ((k + 0.985) / teeth, 2.9)]
    return [*rows, (1.0, 0.0)]


Maker = Callable[[Sequence[Points], float, float], _Shell | None]
_ROOFS: dict[str, Maker] = {
    "flat": _parapet,
    "plain": _flat,
    "mansard": _mansard,
    "hip": _hip,
    "gable": _profiled(_gable),
    "shed": _profiled(_shed),
    "vault": _profiled(_vault),
    "saw": _profiled(_saw, across=False),
}


def _longest_first(ring: Points) -> Points:
    return ring if np.hypot(*(ring[1] - ring[0])) >= np.hypot(*(ring[2] - ring[1])) else np.roll(ring, -1, axis=0)


def _inset(ring: Points, distance: float) -> Points:
    """Move each corner inwards along its bisector, so that edges keep `distance` from where they were."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    n0, n1 = _left(before), _left(after)
    bisector = n0 + n1
    return np.asarray(ring + bisector * (2 * distance / np.maximum((bisector**2).sum(axis=1), 1e-6))[:, None])


def _left(edges: Points) -> Points:
    turned = np.stack([-edges[:, 1], edges[:, 0]], axis=1)
    return np.asarray(turned / np.maximum(np.hypot(*edges.T), 1e-9)[:, None])


def _whole(rings: Sequence[Points]) -> Polygon | None:
    """Return the polygon of inset rings if they are still one in the same order, else None."""
    shape = Polygon(rings[0], list(rings[1:]))
    return shape if shape.is_valid and shapely.is_ccw(shape.exterior) and shape.area > 4 else None
