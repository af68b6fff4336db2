"""The bridges of the sample: decks with a camber on piers, with parapets; each part a closed solid."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from sample_data.plan import Plan, Street
from sample_data.roofs import Solid
from sample_data.terrain import RIVER_HALF_WIDTH_M, Relief

_THICK_M, _CAMBER_M, _RAIL_M = 1.5, 1.1, 1.15
_REACH_M = RIVER_HALF_WIDTH_M + 16.0  # of the deck, from the river's middle


@dataclass(frozen=True)
class Bridge:
    """A bridge: its street, and its parts by what they are."""

    street: Street
    parts: list[tuple[str, Solid]]


def bridges(plan: Plan, relief: Relief) -> Iterator[Bridge]:
    """Yield a bridge for each street that passes the river."""
    for street in plan.streets:
        if street.bridge:
            yield Bridge(street, list(_parts(street, relief)))


def _parts(street: Street, relief: Relief) -> Iterator[tuple[str, Solid]]:
    middle = street.line.interpolate(0.5, normalized=True)
    water = street.line.intersection(shapely.Point(middle.x, middle.y).buffer(_REACH_M))
    ends = shapely.get_coordinates(water)[[0, -1]]
    along = (ends[1] - ends[0]) / np.hypot(*(ends[1] - ends[0]))
    aside = np.array([-along[1], along[0]])
    z = relief.height(ends[:, 0], ends[:, 1]) + 0.35
    u = np.linspace(0, 1, 9)
    axis = ends[0] + (ends[1] - ends[0]) * u[:, None]
    top = z[0] + (z[1] - z[0]) * u + _CAMBER_M * 4 * u * (1 - u)
    half = street.width_m / 2 + 1.6
    yield "deck", _strip(axis, aside, -half, half, top - _THICK_M, top)
    for side in (-1, 1):
        edge = side * (half - 0.2)
        yield "parapet", _strip(axis, aside, edge - 0.2, edge + 0.2, top, top + _RAIL_M)
    for k in (3, 5):
        where = axis[k]
        bed = float(relief.height(where[0:1], where[1:2])[0]) - 1.0
        pier = where + np.array([-1.1, 1.1])[:, None] * along
        yield (
            "pier",
            _strip(pier, aside, -half + 1.2, half - 1.2, np.full(2, bed), np.full(2, top[k] - _THICK_M - 0.02)),
        )


def _strip(axis: np.ndarray, aside: np.ndarray, low: float, high: float, bottom: np.ndarray, top: np.ndarray) -> Solid:
    """Return the closed solid between two heights along an axis, from `low` to `high` beside it."""
    n = len(axis)
    right, left = axis + low * aside, axis + high * aside
    rows = [(right, bottom), (left, bottom), (right, top), (left, top)]
    vertices = [(float(x), float(y), float(h)) for xy, z in rows for (x, y), h in zip(xy, z, strict=True)]
    rb, lb, rt, lt = (range(k * n, (k + 1) * n) for k in range(4))
    faces: list[list[list[int]]] = []
    classes: list[str] = []

    def add(kind: str, ring: Sequence[int]) -> None:
        faces.append([list(ring)])
        classes.append(kind)

    for k in range(n - 1):
        add("OuterFloorSurface", [rt[k], rt[k + 1], lt[k + 1], lt[k]])
        add("OuterCeilingSurface", [lb[k], lb[k + 1], rb[k + 1], rb[k]])
        add("WallSurface", [rb[k], rb[k + 1], rt[k + 1], rt[k]])
        add("WallSurface", [lt[k], lt[k + 1], lb[k + 1], lb[k]])
    add("WallSurface", [lb[0], rb[0], rt[0], lt[0]])
    add("WallSurface", [rb[-1], lb[-1], lt[-1], rt[-1]])
    return Solid(vertices, faces, classes)
