"""The plan of the sample town: a curved frame along the valley, streets in it, and the blocks between them.

Places are given along and across the valley: `s` metres along its axis, `t` metres to the left of it (north). Near the
river the frame follows the river's bends, further away the valley's; so no two blocks have the same shape.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import shapely

from sample_data.terrain import RIVER_HALF_WIDTH_M, Float, Relief, axis_y, meander_y

Coordinates = npt.ArrayLike
_X = np.linspace(-18_000.0, 18_000.0, 36_001)
_ARC = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(_X), np.diff(axis_y(_X))))])
_ARC -= np.interp(0.0, _X, _ARC)
_FADES_FROM_M, _FADES_TO_M = 70.0, 330.0  # from the river: how far its bends are felt

SMALL_HALF_M, DISTRICT_HALF_M = 750.0, 8600.0


@dataclass(frozen=True)
class Extent:
    """How far a scale of the sample reaches."""

    half_length_m: float  # of the town, along the valley
    slope_m: float  # from the river to the highest houses
    outer_streets: int  # contour streets above the six of the valley floor, a side


SCALES = {"small": Extent(SMALL_HALF_M, 450.0, 0), "district": Extent(DISTRICT_HALF_M, 860.0, 3)}

# streets along the valley: name, distance from the river, class, width
ALONG = (
    ("桃北路", 62.0, "arterial", 16.0),
    ("桃南路", -62.0, "arterial", 16.0),
    ("德胜街", 190.0, "secondary", 11.0),
    ("南大街", -190.0, "secondary", 11.0),
    ("北山路", 318.0, "local", 8.0),
    ("南山路", -318.0, "local", 8.0),
)
_OUTER = (440.0, 575.0, 720.0)
# streets across: name, place along, from, to, class, width; those that pass the river are bridges there
ACROSS = (
    ("泉中路", -640.0, -318.0, 318.0, "secondary", 11.0),
    ("新华巷", -430.0, 62.0, 318.0, "local", 7.0),
    ("矿工街", -395.0, -318.0, -62.0, "local", 7.0),
    ("朝阳街", -210.0, -318.0, 318.0, "secondary", 12.0),
    ("平坦垴路", -20.0, 62.0, 318.0, "local", 7.0),
    ("义井街", 25.0, -318.0, -62.0, "local", 7.0),
    ("府新街", 190.0, -318.0, 318.0, "arterial", 15.0),
    ("小河巷", 395.0, 62.0, 318.0, "local", 7.0),
    ("洪城路", 420.0, -318.0, -62.0, "local", 7.0),
    ("李荫路", 640.0, -318.0, 318.0, "secondary", 11.0),
)
_NAMES = (
    "平安", "建设", "文化", "红旗", "育才", "光明", "胜利", "煤山", "北岭", "南庄", "官沟", "桥北",
    "赛鱼", "白羊墅", "五渡", "荫营", "驼岭", "大连", "保晋", "漾泉", "开元", "新泉", "永和", "兴隆",
)  # fmt: skip


@dataclass(frozen=True)
class Street:
    """A street segment between two crossings."""

    name: str
    road_class: str
    width_m: float
    line: shapely.LineString
    bridge: bool = False  # it passes the river here


@dataclass(frozen=True)
class Block:
    """The land between streets, inside their edges."""

    s: tuple[float, float]
    t: tuple[float, float]
    polygon: shapely.Polygon

    @property
    def middle(self) -> tuple[float, float]:
        """Its middle in the frame of the valley."""
        return (self.s[0] + self.s[1]) / 2, (self.t[0] + self.t[1]) / 2


def places(s: Coordinates, t: Coordinates) -> Float:
    """Return x, y (n, 2) of places along and across the valley, metres from the town's middle."""
    s, t = np.broadcast_arrays(np.asarray(s, float), np.asarray(t, float))
    x = np.interp(s, _ARC, _X)
    slope = (axis_y(x + 1.0) - axis_y(x - 1.0)) / 2.0
    length = np.hypot(1.0, slope)
    felt = 1.0 - np.clip((np.abs(t) - _FADES_FROM_M) / (_FADES_TO_M - _FADES_FROM_M), 0.0, 1.0)
    felt = felt * felt * (3.0 - 2.0 * felt)
    return np.stack([x - t * slope / length, axis_y(x) + t / length + meander_y(x) * felt], axis=-1)


def place(s: float, t: float) -> tuple[float, float]:
    """Return x, y of one place."""
    x, y = places(np.array(s), np.array(t))
    return float(x), float(y)


def bearing(s: float, t: float = 0.0) -> float:
    """Return the direction of the frame at a place, radians from east."""
    (x0, y0), (x1, y1) = place(s - 30.0, t), place(s + 30.0, t)
    return math.atan2(y1 - y0, x1 - x0)


def line(s: Coordinates, t: Coordinates) -> shapely.LineString:
    """Return a line through places."""
    return shapely.LineString(places(np.asarray(s, float), np.asarray(t, float)))


def patch(s: tuple[float, float], t: tuple[float, float], step_m: float = 12.0) -> shapely.Polygon:
    """Return the area between two places along and two across."""
    along = np.linspace(*s, max(3, int((s[1] - s[0]) / step_m)))
    across = np.linspace(*t, max(3, int((t[1] - t[0]) / step_m)))
    sides = [places(along, np.array(t[0])), places(np.array(s[1]), across), places(along[::-1], np.array(t[1]))]
    return shapely.Polygon(np.concatenate([*sides, places(np.array(s[0]), across[::-1])]))


def river(half_length_m: float = 15_500.0) -> shapely.Polygon:
    """Return the river's water."""
    s = np.arange(-half_length_m, half_length_m, 10.0)
    return shapely.buffer(line(s, np.zeros_like(s)), RIVER_HALF_WIDTH_M - 4, cap_style="flat")


class Plan:
    """Streets and blocks of a scale of the sample."""

    def __init__(self, extent: Extent, relief: Relief, rng: np.random.Generator) -> None:
        self.extent, self.relief = extent, relief
        self._along = [*ALONG, *_outer_streets(extent)]
        self._across = [*ACROSS, *_more_across(extent, rng)]
        self.streets = list(self._streets())

    def _streets(self) -> Iterator[Street]:
        half = self.extent.half_length_m
        for name, aside, road_class, width in self._along:
            cuts = {-half, half, *(s for _, s, low, high, _, _ in self._across if low <= aside <= high)}
            for a, b in pairwise(sorted(cuts)):
                s = np.linspace(a, b, max(3, int((b - a) / 12)))
                yield Street(name, road_class, width, line(s, np.full_like(s, aside)))
        for name, at, low, high, road_class, width in self._across:
            cuts = {low, high, *(t for _, t, _, _ in self._along if low < t < high)}
            for a, b in pairwise(sorted(cuts)):
                t = np.linspace(a, b, max(3, int((b - a) / 12)))
                yield Street(name, road_class, width, line(np.full_like(t, at), t), bridge=a < 0 < b)
        # a road out of town at each end, and lanes up the slopes
        for name, start, end in (("阳盂路", -half - 1900.0, -half), ("阳五高速连接线", half, half + 1900.0)):
            s = np.linspace(start, end, 150)
            yield Street(name, "arterial", 14.0, line(s, np.full_like(s, 62.0)))
        top = max(t for _, t, _, _ in self._along)
        for name, start, low, high in (
            ("赛鱼坡", -560.0, top, top + 200.0),
            ("桥头坡", 250.0, top, top + 220.0),
            ("段南沟", -120.0, -top, -top - 210.0),
        ):
            t = np.linspace(low, high, 25)
            yield Street(name, "local", 5.0, line(start + 26 * np.sin(np.linspace(0, 15.6, 25)), t))

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks between streets; outside the last street along, bands up the slope."""
        rows = sorted(self._along, key=lambda row: row[1])
        for (_, low, _, w0), (_, high, _, w1) in pairwise(rows):
            if low < 0 < high:
                continue  # the river
            crossing = [(s, w) for _, s, a, b, _, w in self._across if a <= low and high <= b]
            half = self.extent.half_length_m
            ends = sorted([(-half, 0.0), (half, 0.0), *crossing])
            for (s0, u0), (s1, u1) in pairwise(ends):
                s, t = (s0 + u0 / 2 + 3, s1 - u1 / 2 - 3), (low + w0 / 2 + 3, high - w1 / 2 - 3)
                if s[1] - s[0] > 30:
                    yield Block(s, t, patch(s, t))

    def slopes(self) -> Iterator[Block]:
        """Yield the bands above the last streets, piece by piece."""
        top, half = max(t for _, t, _, _ in self._along) + 8.0, self.extent.half_length_m
        steps = np.linspace(-half, half, max(2, int(2 * half / 250)))
        for a, b in pairwise(steps.tolist()):
            for t in ((top, self.extent.slope_m), (-self.extent.slope_m, -top)):
                yield Block((a, b), t, patch((a, b), t))

    def cells(self) -> Iterator[tuple[int, int, shapely.Polygon]]:
        """Yield the management grid: number of the community, of the cell in it (north → south, west → east), cell."""
        edges = [62.0, 190.0, 318.0, *(t for t in _OUTER[: self.extent.outer_streets]), self.extent.slope_m + 130.0]
        across = [-t for t in edges[::-1]] + edges
        half = self.extent.half_length_m + 70.0
        columns = max(2, round(half / 410.0)) * 4
        along = np.linspace(-half, half, columns + 1).tolist()
        community = 0
        for west in range(0, columns, 4):
            for rows in (list(pairwise(across))[len(edges) - 1 :], list(pairwise(across))[: len(edges) - 1]):
                community += 1
                number = 0
                for low, high in rows[::-1]:
                    for a, b in pairwise(along[west : west + 5]):
                        number += 1
                        yield community, number, patch((a, b), (low, high), 24.0)


def _outer_streets(extent: Extent) -> Iterator[tuple[str, float, str, float]]:
    for k, t in enumerate(_OUTER[: extent.outer_streets]):
        yield f"北岭{'一二三'[k]}路", t, "local", 7.0
        yield f"南岭{'一二三'[k]}路", -t, "local", 7.0


def _more_across(extent: Extent, rng: np.random.Generator) -> Iterator[tuple[str, float, float, float, str, float]]:
    """Streets across outside the named middle of the town: bridges about every 700 m, lanes between."""
    top = _OUTER[extent.outer_streets - 1] if extent.outer_streets else 318.0
    for side in (-1, 1):
        s, k = 820.0, 0
        while s < extent.half_length_m - 60:
            name = _NAMES[int(rng.integers(len(_NAMES)))]
            if k % 4 == 0:
                yield f"{name}路", side * s, -top, top, "secondary", 11.0
            else:
                low, high = (62.0, top) if rng.random() < 0.5 else (62.0, 318.0)
                flip = 1 if k % 2 else -1
                near, far = sorted((flip * low, flip * high))
                yield f"{name}街", side * s, near, far, "local", 7.0
                near, far = sorted((-flip * low, -flip * 318.0))
                yield f"{name}巷", side * (s + 43.0), near, far, "local", 6.0
            s, k = s + float(rng.uniform(140, 215)), k + 1
