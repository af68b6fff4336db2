"""The plan of the sample town: streets that follow the river, blocks of different use, buildings of different form.

Places are given along and across the river: `s` metres along its middle, `t` metres to the left of it (north).
"""

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import shapely
from shapely import Polygon
from shapely.affinity import rotate, translate

from sample_data.terrain import RIVER_HALF_WIDTH_M, river_slope, river_y

LENGTH_M = 1500.0  # of the town along the river
_S = np.linspace(-4000.0, 4000.0, 8001)  # x of the river's middle, metre by metre
_ARC = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(_S), np.diff(river_y(_S))))])
_ARC -= np.interp(0.0, _S, _ARC)

# streets along the river: name, distance from its middle, class, width
ALONG = (
    ("桃北路", 62.0, "arterial", 16.0),
    ("桃南路", -62.0, "arterial", 16.0),
    ("德胜街", 190.0, "secondary", 11.0),
    ("南大街", -190.0, "secondary", 11.0),
    ("北山路", 318.0, "local", 8.0),
    ("南山路", -318.0, "local", 8.0),
)
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


def place(s: float, t: float) -> tuple[float, float]:
    """Return x, y of a place along and across the river, metres from the town's middle."""
    x = float(np.interp(s, _ARC, _S))
    angle = bearing(s)
    return x - t * math.sin(angle), float(river_y(np.array(x))) + t * math.cos(angle)


def bearing(s: float) -> float:
    """Return the river's direction at `s`, radians from east, smoothed over 60 m so that far streets don't fold."""
    x = np.interp(np.linspace(s - 60, s + 60, 7), _ARC, _S)
    return math.atan(float(river_slope(x).mean()))


@dataclass(frozen=True)
class Street:
    """A street segment between two crossings."""

    name: str
    road_class: str
    width_m: float
    line: shapely.LineString


def streets() -> list[Street]:
    """Return the street segments, cut at their crossings."""
    made = []
    half = LENGTH_M / 2
    for name, t, road_class, width in ALONG:
        cuts = sorted({-half, half, *(s for _, s, low, high, _, _ in ACROSS if low <= t <= high)})
        for a, b in pairwise(cuts):
            line = shapely.LineString([place(s, t) for s in np.linspace(a, b, max(3, int((b - a) / 12)))])
            made.append(Street(name, road_class, width, line))
    for name, s, low, high, road_class, width in ACROSS:
        cuts = sorted({low, high, *(t for _, t, _, _ in ALONG if low < t < high)})
        for a, b in pairwise(cuts):
            line = shapely.LineString([place(s, t) for t in np.linspace(a, b, max(3, int((b - a) / 12)))])
            made.append(Street(name, road_class, width, line))
    # a road out of town at each end, and lanes up the slopes
    for name, start, end, t in (("阳盂路", -2600.0, -half, 62.0), ("阳五高速连接线", half, 2600.0, 62.0)):
        line = shapely.LineString([place(s, t) for s in np.linspace(start, end, 150)])
        made.append(Street(name, "arterial", 14.0, line))
    for name, s, low, high in (
        ("赛鱼坡", -560.0, 318.0, 520.0),
        ("桥头坡", 250.0, 318.0, 540.0),
        ("段南沟", -120.0, -530.0, -318.0),
    ):
        wind = [place(s + 26 * math.sin(k * 1.3), low + (high - low) * k / 12) for k in range(13)]
        made.append(Street(name, "local", 5.0, shapely.LineString(wind)))
    return made


@dataclass(frozen=True)
class House:
    """A building of the plan."""

    footprint: Polygon  # metres from the town's middle
    use: str
    roof: str  # flat, gable, hip, podium
    storeys: int
    storey_m: float
    name: str = ""
    core: bool = True  # drawn with roofs; the others are footprints with a height
    parts: tuple["House", ...] = ()

    @property
    def eaves_m(self) -> float:
        """Height of the walls above the ground."""
        return self.storeys * self.storey_m


@dataclass
class _Site:
    """Land that is taken, as it fills up."""

    taken: list[Polygon] = field(default_factory=list)
    blocked: shapely.Geometry = field(default_factory=shapely.Polygon)

    def put(self, footprint: Polygon, gap_m: float) -> bool:
        """Take the land of a footprint if it is free."""
        around = footprint.buffer(gap_m, join_style="mitre")
        if shapely.intersects(self.blocked, around) or any(around.intersects(other) for other in self.taken):
            return False
        self.taken.append(footprint)
        return True


def houses(rng: np.random.Generator, wanted: int) -> list[House]:
    """Return the buildings: blocks by use between the streets, terraces on the slopes, and an old mining quarter."""
    lines = [street.line.buffer(street.width_m / 2 + 3.0, cap_style="flat") for street in streets()]
    river = shapely.LineString([place(s, 0) for s in np.linspace(-1500, 1500, 400)]).buffer(RIVER_HALF_WIDTH_M + 10)
    site = _Site(blocked=shapely.union_all([*lines, river]))
    shapely.prepare(site.blocked)
    made: list[House] = []
    made += [house for house in _landmarks() if site.put(house.footprint, 5.0)]
    for bands in (_CENTRE_BANDS, _SLOPE_BANDS):
        for t_low, t_high, kind in bands:
            made += _fill(site, rng, t_low, t_high, kind)
    return made[:wanted] if len(made) > wanted else made


# bands across the river: from, to, what is built there
_CENTRE_BANDS = (
    (72.0, 120.0, "front"), (128.0, 182.0, "slabs"), (198.0, 252.0, "slabs"), (258.0, 311.0, "yards"),
    (-120.0, -72.0, "front"), (-182.0, -128.0, "towers"), (-252.0, -198.0, "slabs"), (-311.0, -258.0, "works"),
)  # fmt: skip
_SLOPE_BANDS = ((326.0, 470.0, "terraces"), (-470.0, -326.0, "terraces"))
_PITCH_M = {"front": 34.0, "slabs": 56.0, "yards": 21.0, "towers": 44.0, "works": 62.0, "terraces": 17.0}
_DEPTH_M = {"front": 26.0, "slabs": 28.0, "yards": 19.0, "towers": 40.0, "works": 50.0, "terraces": 18.0}


def _fill(site: _Site, rng: np.random.Generator, t_low: float, t_high: float, kind: str) -> list[House]:
    made = []
    half = LENGTH_M / 2
    t = t_low + _DEPTH_M[kind] / 2
    while t < t_high:
        s = -half + rng.uniform(4, 14)
        while s < half:
            pitch = _PITCH_M[kind] * rng.uniform(0.85, 1.25)
            shift = rng.uniform(-2.5, 2.5)
            house = _house(rng, kind, s, t + shift)
            density = 0.62 if kind == "terraces" else 0.93
            if rng.random() < density and site.put(house.footprint, 2.5 if kind in ("yards", "terraces") else 5.0):
                made.append(house)
            s += pitch
        t += _DEPTH_M[kind] * rng.uniform(0.98, 1.12)
    return made


def _house(rng: np.random.Generator, kind: str, s: float, t: float) -> House:
    """Make a building of a kind at a place, turned with the river and a little by chance."""
    core = abs(s) < 560 and abs(t) < 320
    turn = bearing(s) + math.radians(rng.normal(0, 2.0))
    where = place(s, t)
    if kind == "front":
        w, d = rng.uniform(22, 31), rng.uniform(14, 20)
        shape = _ell(w, d, rng) if rng.random() < 0.4 else _rectangle(w, d)
        use = str(rng.choice(["commercial", "office", "commercial", "public"]))
        return House(_at(shape, where, turn), use, "flat", int(rng.integers(3, 8)), 3.6, core=core)
    if kind == "slabs":
        w, d = rng.uniform(38, 52), rng.uniform(11.5, 14)
        roof = "gable" if rng.random() < 0.55 else "hip"
        return House(_at(_rectangle(w, d), where, turn), "residential", roof, int(rng.integers(5, 7)), 2.9, core=core)
    if kind == "towers":
        w, d = rng.uniform(22, 28), rng.uniform(17, 22)
        return House(_at(_cross(w, d), where, turn), "residential", "flat", int(rng.integers(15, 27)), 3.0, core=core)
    if kind == "works":
        w, d = rng.uniform(40, 56), rng.uniform(20, 28)
        return House(_at(_rectangle(w, d), where, turn), "industrial", "gable", 1, rng.uniform(8, 11), core=core)
    if kind == "terraces":
        w, d = rng.uniform(9, 14), rng.uniform(6.5, 8.5)
        shape = _at(_rectangle(w, d), where, turn + math.radians(rng.normal(0, 7)))
        return House(shape, "residential", "gable", int(rng.integers(1, 3)), 3.1, core=False)
    if rng.random() < 0.3:
        return House(
            _at(_courtyard(rng.uniform(16, 19), rng.uniform(15, 17)), where, turn),
            "residential",
            "flat",
            1,
            3.8,
            core=core,
        )
    shape = _rectangle(rng.uniform(13, 18), rng.uniform(8, 11))
    roof = "hip" if rng.random() < 0.35 else "gable"
    return House(_at(shape, where, turn), "residential", roof, int(rng.integers(1, 4)), 3.1, core=core)


def _landmarks() -> list[House]:
    """Return the buildings that people know by name."""

    def at(shape: Polygon, s: float, t: float) -> Polygon:
        return _at(shape, place(s, t), bearing(s))

    tower = House(at(_rectangle(24, 24), 105, 131), "office", "flat", 22, 3.6, "阳泉市民中心主楼")
    podium = House(at(_rectangle(62, 40), 105, 131), "office", "flat", 4, 4.5, "阳泉市民中心裙楼")
    return [
        House(at(_rectangle(62, 40), 105, 131), "public", "podium", 4, 4.5, "阳泉市民中心", parts=(podium, tower)),
        House(at(_you(58, 44, 13), -330, 226), "education", "flat", 5, 3.6, "阳泉市第一中学教学楼"),
        House(at(_ell(60, 42, None), 300, -228), "medical", "flat", 9, 3.8, "阳泉市第一人民医院"),
        House(at(_rectangle(48, 30), -110, -226), "public", "hip", 3, 4.6, "工人文化宫"),
        House(at(_rectangle(70, 26), -520, -232), "industrial", "gable", 1, 13.0, "阳煤机修厂"),
        House(at(_rectangle(34, 18), 540, 100), "public", "flat", 3, 4.0, "桃河消防救援站"),
    ]


def _rectangle(w: float, d: float) -> Polygon:
    return shapely.box(-w / 2, -d / 2, w / 2, d / 2)


def _ell(w: float, d: float, rng: np.random.Generator | None) -> Polygon:
    a, b = (w * 0.45, d * 0.5) if rng is None else (w * rng.uniform(0.35, 0.55), d * rng.uniform(0.45, 0.6))
    return Polygon(
        [
            (-w / 2, -d / 2),
            (w / 2, -d / 2),
            (w / 2, -d / 2 + b),
            (-w / 2 + a, -d / 2 + b),
            (-w / 2 + a, d / 2),
            (-w / 2, d / 2),
        ]
    )


def _you(w: float, d: float, arm: float) -> Polygon:
    outer, inner = _rectangle(w, d), shapely.box(-w / 2 + arm, -d / 2 + arm, w / 2 - arm, d)
    cut = outer.difference(inner)
    return Polygon(cut.exterior)


def _cross(w: float, d: float) -> Polygon:
    n = min(w, d) * 0.16
    x, y = w / 2, d / 2
    lower = [(-x + n, -y), (x - n, -y), (x - n, -y + n), (x, -y + n), (x, y - n), (x - n, y - n)]
    upper = [(x - n, y), (-x + n, y), (-x + n, y - n), (-x, y - n), (-x, -y + n), (-x + n, -y + n)]
    return Polygon([*lower, *upper])


def _courtyard(w: float, d: float) -> Polygon:
    inner = shapely.box(-w / 2 + 4.5, -d / 2 + 4.5, w / 2 - 4.5, d / 2 - 4.5)
    return Polygon(_rectangle(w, d).exterior, [inner.exterior.coords])


def _at(shape: Polygon, where: tuple[float, float], turn: float) -> Polygon:
    return translate(rotate(shape, turn, origin=(0, 0), use_radians=True), *where)
