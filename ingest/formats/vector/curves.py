"""Curves of WKB as lines: arcs stroked so finely that no chord leaves its arc by more than a millimetre or so.

ISO/IEC 13249-3 (SQL/MM): 8 circular string, 9 compound curve, 10 curve polygon, 11 multi-curve, 12 multi-surface.
shapely reads none of them.
"""

import math
import struct
from typing import Any

import numpy as np
import shapely

_POINT_LISTS = {2: "line", 8: "arc"}
_LARGEST_STEP_RAD = math.radians(2.0)
Points = list[tuple[float, ...]]


class _Reader:
    """A WKB string, read from front to back."""

    def __init__(self, wkb: bytes) -> None:
        self._wkb, self._at = wkb, 0

    def header(self) -> tuple[str, int, int]:
        """Return the byte order's sign, the kind without its dimension flags, and the number of coordinates."""
        order = "<" if self._wkb[self._at] else ">"
        (code,) = struct.unpack_from(f"{order}I", self._wkb, self._at + 1)
        self._at += 5
        extended = bool(code & 0x80000000) + bool(code & 0x40000000)
        plain = code & 0x0FFFFFFF
        dimensions = 2 + extended + {0: 0, 1: 1, 2: 1, 3: 2}[plain // 1000]
        return order, plain % 1000, dimensions

    def count(self, order: str) -> int:
        (number,) = struct.unpack_from(f"{order}I", self._wkb, self._at)
        self._at += 4
        return int(number)

    def points(self, order: str, dimensions: int) -> Points:
        number = self.count(order)
        values = struct.unpack_from(f"{order}{number * dimensions}d", self._wkb, self._at)
        self._at += number * dimensions * 8
        leading = min(dimensions, 3)
        return [values[i * dimensions : i * dimensions + leading] for i in range(number)]


def is_curve(wkb: bytes) -> bool:
    """Whether a WKB string is of a curve kind."""
    code = int.from_bytes(wkb[1:5], "little" if wkb[0] else "big") & 0x0FFFFFFF
    return 8 <= code % 1000 <= 12


def linear(wkb: bytes) -> Any:
    """Return a curve geometry as a shapely geometry of straight lines, or None if it is no curve that is known."""
    try:
        return _geometry(_Reader(wkb))
    except (struct.error, KeyError, IndexError, shapely.errors.GEOSException):
        return None


def _geometry(reader: _Reader) -> Any:
    order, kind, dimensions = reader.header()
    if kind in _POINT_LISTS:
        return shapely.LineString(_stroked(reader.points(order, dimensions), is_arc=kind == 8))
    parts = [_geometry(reader) for _ in range(reader.count(order))] if kind != 3 else []
    if kind == 3:
        rings = [reader.points(order, dimensions) for _ in range(reader.count(order))]
        return shapely.Polygon(rings[0], rings[1:])
    if kind == 9:
        points = [p for part in parts for p in part.coords]
        return shapely.LineString([p for i, p in enumerate(points) if i == 0 or p != points[i - 1]])
    if kind == 10:
        return shapely.Polygon(parts[0], parts[1:])
    if kind in (11, 5):
        return shapely.MultiLineString(parts)
    if kind in (12, 6):
        return shapely.MultiPolygon(parts)
    raise KeyError(kind)


def _stroked(points: Points, *, is_arc: bool) -> Points:
    """Return the points of a line, or of the arcs through each three points, the given ones among them."""
    if not is_arc:
        return points
    stroked = points[:1]
    for start, middle, end in zip(points[::2], points[1::2], points[2::2], strict=False):
        stroked += _arc(start, middle, end)
    return stroked


def _arc(start: tuple[float, ...], middle: tuple[float, ...], end: tuple[float, ...]) -> Points:
    """Return the points after `start` on the arc through three points; a full circle where start and end are one."""
    (ax, ay), (bx, by), (cx, cy) = start[:2], middle[:2], end[:2]
    if (ax, ay) == (cx, cy):
        x, y = (ax + bx) / 2, (ay + by) / 2
        turns = [math.pi, math.pi]
    else:
        # the circle through three points: where the perpendicular bisectors meet
        d = 2 * ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
        if abs(d) < 1e-12:
            return [middle, end]
        b2, c2 = (bx - ax) ** 2 + (by - ay) ** 2, (cx - ax) ** 2 + (cy - ay) ** 2
        x, y = ax + ((cy - ay) * b2 - (by - ay) * c2) / d, ay + ((bx - ax) * c2 - (cx - ax) * b2) / d
        sign = 1.0 if d > 0 else -1.0
        angles = [math.atan2(py - y, px - x) for px, py in ((ax, ay), (bx, by), (cx, cy))]
        turns = [sign * ((sign * (angles[k + 1] - angles[k])) % (2 * math.pi)) for k in (0, 1)]
    radius = math.hypot(ax - x, ay - y)
    result: Points = []
    for (p, q), turn in zip(((start, middle), (middle, end)), turns, strict=True):
        steps = max(1, math.ceil(abs(turn) / _LARGEST_STEP_RAD))
        first = math.atan2(p[1] - y, p[0] - x)
        between = np.linspace(0, 1, steps + 1)[1:-1]
        for f in between:
            angle = first + turn * f
            height = tuple(u + (v - u) * f for u, v in zip(p[2:], q[2:], strict=True))
            result.append((x + radius * math.cos(angle), y + radius * math.sin(angle), *height))
        result.append(q)
    return result
