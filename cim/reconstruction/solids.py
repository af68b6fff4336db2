"""From a roof to a closed solid: its faces, walls down to the ground and between faces of different height, a floor."""

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cim.geometry.body_batch import GROUND, ROOF, WALL, Bodies, from_sizes
from cim.geometry.canonical import RESOLUTION_M
from cim.reconstruction.roofs import Roof

Node = tuple[int, int]  # a place on the raster of the store
Point = tuple[int, int, int]
SAME_HEIGHT = round(0.01 / RESOLUTION_M)
ROUNDS = 6  # of cutting edges where faces cross


class _Solid:
    """A solid while it is put together; coordinates are whole steps of the store's raster."""

    def __init__(self, roof: Roof, base_m: float) -> None:
        self._roof = roof
        self._base = round(base_m / RESOLUTION_M)
        self._rings = [[_nodes(ring) for ring in _rings_of(polygon)] for polygon in roof.polygons]
        for _ in range(ROUNDS):
            if not self._cut_where_faces_cross():
                break
        self._heights = self._settled_heights()
        self.faces: list[tuple[list[list[Point]], int]] = []

    def build(self) -> None:
        for face, rings in enumerate(self._rings):
            self.faces.append(([[(*node, self._height(node, face)) for node in ring] for ring in rings], ROOF))
            self.faces.append(([[(*node, self._base) for node in reversed(ring)] for ring in rings], GROUND))
        owner = self._owners()
        for (start, end), face in owner.items():
            self._wall(start, end, face, owner.get((end, start)))

    def _owners(self) -> dict[tuple[Node, Node], int]:
        """Return the face to the left of each directed edge."""
        return {
            edge: face
            for face, rings in enumerate(self._rings)
            for ring in rings
            for edge in zip(ring, [*ring[1:], ring[0]], strict=True)
        }

    def _plane_height(self, node: Node, face: int) -> int:
        a, b, c = self._roof.planes[face]
        x, y = node[0] * RESOLUTION_M - self._roof.origin[0], node[1] * RESOLUTION_M - self._roof.origin[1]
        return int(max(self._base + SAME_HEIGHT, round((a * x + b * y + c) / RESOLUTION_M)))

    def _cut_where_faces_cross(self) -> bool:
        """Put a node on each common edge in whose middle one face rises above the other; return whether there was one.

        A face that would dip below the floor is bent, and may then cross another once more.
        """
        owner = self._owners()
        inserted: dict[tuple[Node, Node], Node] = {}
        for (start, end), face in owner.items():
            other = owner.get((end, start))
            if other is None or start > end:
                continue
            rise = [self._plane_height(node, face) - self._plane_height(node, other) for node in (start, end)]
            if rise[0] * rise[1] < 0 and min(map(abs, rise)) > SAME_HEIGHT:
                t = rise[0] / (rise[0] - rise[1])
                node = (round(start[0] + t * (end[0] - start[0])), round(start[1] + t * (end[1] - start[1])))
                if node not in (start, end):
                    inserted[start, end] = inserted[end, start] = node
        if inserted:
            self._rings = [[_with_nodes(ring, inserted) for ring in rings] for rings in self._rings]
        return bool(inserted)

    def _settled_heights(self) -> dict[tuple[Node, int], int]:
        """Return the height of each face at each of its nodes; those that differ by a centimetre are the same."""
        at: dict[Node, list[tuple[int, int]]] = {}
        for face, rings in enumerate(self._rings):
            for node in dict.fromkeys(node for ring in rings for node in ring):
                at.setdefault(node, []).append((self._plane_height(node, face), face))
        settled: dict[tuple[Node, int], int] = {}
        for node, heights in at.items():
            group = 0
            last: int | None = None
            for height, face in sorted(heights):
                if last is None or height - last > SAME_HEIGHT:
                    group = height
                last = height
                settled[node, face] = group
        return settled

    def _height(self, node: Node, face: int) -> int:
        return self._heights[node, face]

    def _levels(self, node: Node, low: int, high: int) -> list[int]:
        """Return the heights at a node from low to high, with those of other faces between: walls meet there."""
        if low == high:
            return [low]
        between = {h for (n, _), h in self._at(node) if low < h < high}
        return [low, *sorted(between), high]

    def _at(self, node: Node) -> list[tuple[tuple[Node, int], int]]:
        if not hasattr(self, "_by_node"):
            self._by_node: dict[Node, list[tuple[tuple[Node, int], int]]] = {}
            for key, height in self._heights.items():
                self._by_node.setdefault(key[0], []).append((key, height))
        return self._by_node[node]

    def _wall(self, start: Node, end: Node, face: int, other: int | None) -> None:
        """Add the wall below an edge of a face, down to the floor or to a lower face."""
        high = self._height(start, face), self._height(end, face)
        low = (self._base,) * 2 if other is None else (self._height(start, other), self._height(end, other))
        if high[0] < low[0] or high[1] < low[1] or high == low:
            return  # the other face is higher, and has this wall
        up = [(*end, z) for z in self._levels(end, low[1], high[1])]
        down = [(*start, z) for z in reversed(self._levels(start, low[0], high[0]))]
        ring = [*up, *down]
        self.faces.append(([ring], WALL))


def _rings_of(polygon: Any) -> list[Any]:
    oriented = shapely.orient_polygons(polygon)
    return [oriented.exterior, *oriented.interiors]


def _nodes(ring: Any) -> list[Node]:
    """Return a ring's nodes on the raster, without the repeated last one and without doubles."""
    steps = np.rint(shapely.get_coordinates(ring)[:-1] / RESOLUTION_M).astype(np.int64)
    nodes = [(int(x), int(y)) for x, y in steps]
    return [node for k, node in enumerate(nodes) if node != nodes[k - 1]]


def _with_nodes(ring: list[Node], inserted: dict[tuple[Node, Node], Node]) -> list[Node]:
    result = []
    for start, end in zip(ring, [*ring[1:], ring[0]], strict=True):
        result.append(start)
        if (start, end) in inserted:
            result.append(inserted[start, end])
    return result


def solid_of(roof: Roof, base_m: float) -> Bodies:
    """Return the solid under a roof, standing at a height: one body, its faces outwards, classified."""
    solid = _Solid(roof, base_m)
    solid.build()
    points: dict[Point, int] = {}
    indices: list[int] = []
    ring_sizes: list[int] = []
    for rings, _ in solid.faces:
        for ring in rings:
            indices += [points.setdefault(point, len(points)) for point in ring]
            ring_sizes.append(len(ring))
    vertices: NDArray[np.float64] = np.array(list(points), np.float64).reshape(-1, 3) * RESOLUTION_M
    classes = [surface for _, surface in solid.faces]
    return from_sizes(vertices, indices, ring_sizes, [len(r) for r, _ in solid.faces], [len(classes)], classes)
