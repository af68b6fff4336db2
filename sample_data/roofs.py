"""Solids of the sample's buildings: walls, and a flat, gabled or hipped roof, as CityJSON boundaries with semantics."""

from dataclasses import dataclass

import shapely
from shapely import Polygon

Ring = list[int]
PITCH = 0.42  # rise over run of the roofs, about 23°


@dataclass(frozen=True)
class Solid:
    """A closed solid: vertices x, y, z and faces of rings, each with its semantic class."""

    vertices: list[tuple[float, float, float]]
    faces: list[list[Ring]]
    classes: list[str]


def solid(footprint: Polygon, base_m: float, eaves_m: float, roof: str) -> Solid:
    """Return the solid of a footprint; a pitched roof is drawn on rectangles only, others are flat."""
    corners = list(shapely.orient_polygons(footprint).exterior.coords)[:-1]
    if roof in ("gable", "hip") and len(corners) == 4 and not footprint.interiors:
        return _pitched(corners, base_m, eaves_m, hip=roof == "hip")
    return _flat(shapely.orient_polygons(footprint), base_m, eaves_m)


def _flat(footprint: Polygon, base_m: float, eaves_m: float) -> Solid:
    rings = [list(r.coords)[:-1] for r in (footprint.exterior, *footprint.interiors)]
    flat = [p for ring in rings for p in ring]
    n, top = len(flat), base_m + eaves_m
    vertices = [(x, y, base_m) for x, y in flat] + [(x, y, top) for x, y in flat]
    numbered, start = [], 0
    for ring in rings:
        numbered.append(list(range(start, start + len(ring))))
        start += len(ring)
    faces: list[list[Ring]] = [[ring[::-1] for ring in numbered], [[i + n for i in ring] for ring in numbered]]
    for ring in numbered:
        faces += [[[a, b, b + n, a + n]] for a, b in zip(ring, ring[1:] + ring[:1], strict=True)]
    return Solid(vertices, faces, ["GroundSurface", "RoofSurface", *["WallSurface"] * (len(faces) - 2)])


def _pitched(corners: list[tuple[float, ...]], base_m: float, eaves_m: float, *, hip: bool) -> Solid:
    """Put a ridge along the longer side; hipped ends lean in as steeply as the sides."""
    points = [(c[0], c[1]) for c in corners]
    if _length(points[0], points[1]) < _length(points[1], points[2]):
        points = points[1:] + points[:1]
    a, b, c, d = points
    short, long = _length(b, c), _length(a, b)
    top, ridge = base_m + eaves_m, base_m + eaves_m + short / 2 * PITCH
    inset = min(short / 2, long / 2 - 0.5) / long if hip else 0.0
    west, east = _middle(d, a), _middle(b, c)
    r0 = (west[0] + (east[0] - west[0]) * inset, west[1] + (east[1] - west[1]) * inset)
    r1 = (east[0] - (east[0] - west[0]) * inset, east[1] - (east[1] - west[1]) * inset)
    vertices = [(x, y, base_m) for x, y in points] + [(x, y, top) for x, y in points]
    vertices += [(*r0, ridge), (*r1, ridge)]
    sides: list[list[Ring]] = [[[0, 1, 5, 4]], [[2, 3, 7, 6]]]
    slopes: list[list[Ring]] = [[[4, 5, 9, 8]], [[6, 7, 8, 9]]]
    if hip:
        ends: list[list[Ring]] = [[[1, 2, 6, 5]], [[3, 0, 4, 7]]]
        slopes += [[[5, 6, 9]], [[7, 4, 8]]]
    else:
        ends = [[[1, 2, 6, 9, 5]], [[3, 0, 4, 8, 7]]]
    faces = [[[3, 2, 1, 0]], *slopes, *sides, *ends]
    classes = ["GroundSurface", *["RoofSurface"] * len(slopes), *["WallSurface"] * 4]
    return Solid(vertices, faces, classes)


def _length(p: tuple[float, float], q: tuple[float, float]) -> float:
    return float(((p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2) ** 0.5)


def _middle(p: tuple[float, float], q: tuple[float, float]) -> tuple[float, float]:
    return (p[0] + q[0]) / 2, (p[1] + q[1]) / 2
