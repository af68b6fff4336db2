"""The buildings of the sample town: what stands in each block, by its use and age."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from shapely import Polygon

from sample_data import forms
from sample_data.forms import Rng, put
from sample_data.plan import SMALL_HALF_M, Block, Plan, bearing, place, river
from sample_data.terrain import Relief


@dataclass(frozen=True)
class House:
    """A building of the plan."""

    footprint: Polygon  # metres from the town's middle
    use: str
    roof: str  # a key of the roofs
    storeys: int
    storey_m: float
    year: int = 1990
    name: str = ""
    core: bool = True  # drawn with its roof; the others are footprints with a height
    parts: tuple["House", ...] = ()  # from the foot up
    block: int = -1  # the number of its block

    @property
    def eaves_m(self) -> float:
        """Height of the walls above the foot."""
        return self.storeys * self.storey_m


class _Land:
    """Land of a block as it fills up."""

    def __init__(self, polygon: Polygon, taken: Sequence[Polygon] = ()) -> None:
        self.polygon = polygon
        self.taken: list[Polygon] = list(taken)
        shapely.prepare(self.polygon)

    def take(self, footprint: Polygon, gap_m: float) -> bool:
        """Take the land of a footprint if it is inside the block and free."""
        if not self.polygon.contains(footprint):
            return False
        if self.taken and shapely.dwithin(footprint, np.array(self.taken, object), gap_m).any():
            return False
        self.taken.append(footprint)
        return True


@dataclass(frozen=True)
class Site:
    """A block that is to be built up: its land, the direction of its rows, and chance."""

    block: Block
    land: _Land
    turn: float  # radians from east
    rng: Rng

    def rows(self, wide_m: float, deep_m: float, jitter_m: float = 0.0) -> Iterator[tuple[float, float]]:
        """Yield places on staggered rows over the block."""
        x0, y0 = shapely.get_coordinates(self.land.polygon.centroid)[0]
        reach = float(np.hypot(*np.ptp(shapely.get_coordinates(self.land.polygon), axis=0))) / 2
        c, s = math.cos(self.turn), math.sin(self.turn)
        for j in range(-int(reach / deep_m) - 1, int(reach / deep_m) + 2):
            shift = float(self.rng.uniform(0, wide_m))
            for i in range(-int(reach / wide_m) - 1, int(reach / wide_m) + 2):
                u = i * wide_m + shift + float(self.rng.normal(0, jitter_m)) if jitter_m else i * wide_m + shift
                v = j * deep_m + (float(self.rng.normal(0, jitter_m / 2)) if jitter_m else 0.0)
                yield x0 + u * c - v * s, y0 + u * s + v * c

    def build(
        self, house: House, where: tuple[float, float], gap_m: float, turn: float | None = None
    ) -> Iterator[House]:
        """Yield the house at a place, if there is room."""
        shape = put(house.footprint, where, self.turn if turn is None else turn)
        if self.land.take(shape, gap_m):
            parts = tuple(
                replace(part, footprint=put(part.footprint, where, self.turn if turn is None else turn))
                for part in house.parts
            )
            yield replace(house, footprint=shape, parts=parts)

    def edge(self, pitch_m: float, inward_m: float) -> Iterator[tuple[tuple[float, float], float]]:
        """Yield places along the block's edge, with the direction of the edge there."""
        ring = self.land.polygon.buffer(-inward_m).exterior
        if ring.is_empty:
            return
        at = float(self.rng.uniform(0, pitch_m / 2))
        while at < ring.length - pitch_m / 2:
            a, b = ring.interpolate(at - 2), ring.interpolate(at + 2)
            middle = ring.interpolate(at)
            yield (middle.x, middle.y), math.atan2(b.y - a.y, b.x - a.x)
            at += pitch_m * float(self.rng.uniform(0.95, 1.2))


Builder = Callable[[Site], Iterator[House]]


def houses(plan: Plan, rng: Rng) -> list[House]:
    """Return the buildings: those that people know by name first, then block by block, then up the slopes."""
    landmarks = list(_landmarks())
    made = landmarks.copy()
    shapes = np.array([house.footprint for house in landmarks], object)
    kinds = [(block, kind_of(block, rng)) for block in plan.blocks()]
    for number, (block, kind) in enumerate([*kinds, *((block, "terraces") for block in plan.slopes())]):
        inside = shapes[shapely.intersects(shapes, block.polygon)] if len(shapes) else shapes
        land = _Land(block.polygon, list(inside))
        built = [replace(h, block=number) for h in _BUILDERS[kind](Site(block, land, _turn(kind, block, rng), rng))]
        made += [replace(h, core=kind != "terraces" or rng.random() < 0.45) for h in built]
    return _clear_of_streets(made, plan)


def _clear_of_streets(made: list[House], plan: Plan) -> list[House]:
    """Leave out what the lanes up the slopes and the river run through."""
    lanes = [s.line.buffer(s.width_m / 2 + 2.5, cap_style="flat") for s in plan.streets]
    tree = shapely.STRtree([*lanes, river().buffer(8)])
    hit = set(tree.query([h.footprint for h in made], "intersects")[0].tolist())
    return [house for k, house in enumerate(made) if k not in hit]


def kind_of(block: Block, rng: Rng) -> str:
    """Return what a block is: the middle of a small town by hand, the rest by where it lies and by chance."""
    s, t = block.middle
    if abs(s) < SMALL_HALF_M and abs(t) < 318:
        row = int(np.digitize(t, (-318, -190, 0, 190, 318)))
        column = int(np.digitize(s, (-640, -420, -210, 0, 190, 410, 640)))
        if row in _BY_HAND:
            return _BY_HAND[row][column]
    if abs(t) < 190:
        return str(rng.choice(("front", "slabs", "towers", "estate", "yards"), p=(0.24, 0.28, 0.2, 0.18, 0.1)))
    if abs(t) < 318:
        return str(
            rng.choice(("slabs", "yards", "works", "mine", "estate", "campus"), p=(0.3, 0.24, 0.12, 0.14, 0.14, 0.06))
        )
    return str(rng.choice(("yards", "mine", "terraces", "slabs"), p=(0.34, 0.16, 0.4, 0.1)))


# by row (south → north) and column (west → east) in the middle of the town
_BY_HAND: dict[int, tuple[str, ...]] = {
    1: ("mine", "mine", "works", "yards", "slabs", "yards", "works", "yards"),
    2: ("works", "slabs", "front", "slabs", "towers", "front", "estate", "slabs"),
    3: ("slabs", "front", "slabs", "front", "centre", "towers", "park", "front"),
    4: ("yards", "slabs", "campus", "yards", "slabs", "estate", "yards", "slabs"),
}


def _turn(kind: str, block: Block, rng: Rng) -> float:
    along = bearing(*block.middle)
    if kind in ("slabs", "estate", "towers", "campus"):  # homes and schools look south
        return along * 0.35 + math.radians(rng.normal(0, 3.0))
    return along + math.radians(rng.normal(0, 2.0))


def _front(site: Site) -> Iterator[House]:
    """Shops and offices along the streets, older homes behind."""
    rng = site.rng
    for where, turn in site.edge(31.0, 9.5):
        form = _pick(rng, ((forms.plain, 5), (forms.ell, 2), (forms.setbacks, 2), (forms.tee, 1)))
        w, d = rng.uniform(21, 29), rng.uniform(13, 17)
        use = str(rng.choice(("commercial", "office", "commercial", "public", "residential")))
        roof = "flat" if rng.random() < 0.8 else "mansard"
        house = House(form(w, d, rng), use, roof, int(rng.integers(3, 9)), 3.5, int(rng.integers(1984, 2018)))
        yield from site.build(house, where, 3.0, turn)
    for where in site.rows(30, 24, 3):
        house = House(
            forms.plain(rng.uniform(22, 30), rng.uniform(10, 12), rng), "residential", "hip",
            int(rng.integers(3, 6)), 2.9, int(rng.integers(1972, 1995)),
        )  # fmt: skip
        yield from site.build(house, where, 6.0)


def _slabs(site: Site) -> Iterator[House]:
    """Rows of walk-up flats, of one age; shops at the street in front of some."""
    rng = site.rng
    storeys, year = int(rng.integers(5, 7)), int(rng.integers(1978, 2004))
    roof = str(rng.choice(("gable", "hip", "flat")))
    wide, deep = float(rng.uniform(36, 50)), float(rng.uniform(11, 13))
    for where in site.rows(wide + 9, storeys * 2.9 * 1.15 + deep, 2.0):
        row = forms.setbacks if rng.random() < 0.18 else forms.plain
        house = House(
            row(wide * rng.uniform(0.75, 1.0), deep, rng),
            "residential",
            roof,
            storeys,
            2.9,
            year + int(rng.integers(0, 4)),
        )
        yield from site.build(house, where, 7.5)
    for where, turn in site.edge(16.0, 4.5):
        if rng.random() < 0.55:
            continue
        house = House(
            forms.rectangle(rng.uniform(10, 15), rng.uniform(6, 7.5)),
            "commercial",
            "shed",
            int(rng.integers(1, 3)),
            3.6,
            year + 8,
        )
        yield from site.build(house, where, 3.5, turn)


def _towers(site: Site) -> Iterator[House]:
    """Point towers of this century, two of three on a podium of shops; a nursery between."""
    rng = site.rng
    for where in site.rows(50, 46, 4):
        w, d = rng.uniform(23, 28), rng.uniform(18, 22)
        form = _pick(rng, ((forms.cross, 4), (forms.aitch, 2), (forms.tee, 1)))
        storeys, year = int(rng.integers(15, 31)), int(rng.integers(2004, 2023))
        shaft = form(w, d, rng)
        if rng.random() < 0.6:
            podium = House(forms.rectangle(w + 10, d + 9), "commercial", "flat", int(rng.integers(2, 4)), 4.5, year)
            parts = (podium, House(shaft, "residential", "flat", storeys, 3.0, year))
            yield from site.build(replace(podium, parts=parts), where, 9.0)
        else:
            yield from site.build(House(shaft, "residential", "flat", storeys, 3.0, year), where, 12.0)
    for where in site.rows(26, 22, 4):
        yield from site.build(House(forms.ell(20, 14, rng), "education", "mansard", 2, 3.6, 2010, "幼儿园"), where, 9.0)
        break


def _estate(site: Site) -> Iterator[House]:
    """Homes of the last twenty years: lift slabs, some stepping back at the top."""
    rng = site.rng
    year = int(rng.integers(2005, 2021))
    for where in site.rows(46, 40, 3):
        w, d, storeys = rng.uniform(30, 40), rng.uniform(13, 15), int(rng.integers(9, 13))
        shape = forms.plain(w, d, rng) if rng.random() < 0.6 else forms.aitch(w, d + 4, rng)
        if rng.random() < 0.4 and len(shape.exterior.coords) == 5:
            low = House(shape, "residential", "flat", storeys - 3, 3.0, year)
            top = House(forms.rectangle(w - 7, d - 3), "residential", "mansard", 3, 3.0, year)
            yield from site.build(replace(low, parts=(low, top)), where, 10.0)
        else:
            yield from site.build(House(shape, "residential", "flat", storeys, 3.0, year), where, 10.0)
    for where in site.rows(34, 30, 3):
        yield from site.build(
            House(forms.courtyard(24, 20, rng), "public", "mansard", 2, 3.8, year, "社区服务中心"), where, 8.0
        )
        break


def _yards(site: Site) -> Iterator[House]:
    """Build the old town: low houses around yards, close together."""
    rng = site.rng
    for where in site.rows(22.5, 20.5, 2.2):
        if rng.random() < 0.08:
            continue
        form = _pick(rng, ((forms.plain, 6), (forms.courtyard, 3), (forms.ell, 3), (forms.you, 3)))
        w, d = (
            (rng.uniform(15, 18), rng.uniform(14, 16))
            if form is not forms.plain
            else (rng.uniform(11, 16), rng.uniform(6.5, 9))
        )
        roof = str(rng.choice(("gable", "hip", "mansard", "shed"), p=(0.5, 0.2, 0.2, 0.1)))
        house = House(form(w, d, rng), "residential", roof, int(rng.integers(1, 4)), 3.1, int(rng.integers(1940, 1988)))
        yield from site.build(house, where, 2.2, site.turn + math.radians(rng.normal(0, 3)))


def _works(site: Site) -> Iterator[House]:
    """Halls with saw-tooth and vaulted roofs, a chimney, tanks, an office at the gate."""
    rng = site.rng
    for where in site.rows(62, 36, 3):
        w, d = rng.uniform(36, 54), rng.uniform(19, 27)
        roof = str(rng.choice(("saw", "vault", "gable", "shed"), p=(0.4, 0.2, 0.25, 0.15)))
        house = House(forms.rectangle(w, d), "industrial", roof, 1, rng.uniform(7, 11), int(rng.integers(1955, 1998)))
        yield from site.build(house, where, 6.0)
    for where in site.rows(24, 22, 3):
        pick = rng.random()
        if pick < 0.12:
            house = House(forms.round_tank(4.2), "industrial", "plain", 1, rng.uniform(32, 46), 1968, "烟囱")
        elif pick < 0.5:
            house = House(
                forms.round_tank(rng.uniform(9, 14)), "industrial", "plain", 1, rng.uniform(8, 12), 1986, "储罐"
            )
        else:
            house = House(forms.ell(18, 12, rng), "office", "flat", int(rng.integers(2, 5)), 3.4, 1985)
        yield from site.build(house, where, 5.0)


def _mine(site: Site) -> Iterator[House]:
    """Build the old mining quarter: rows of one storey, wall to wall, and a bath house."""
    rng = site.rng
    for where in site.rows(40, 62, 2):
        if rng.random() < 0.3:
            yield from site.build(
                House(forms.comb(34, 24, rng), "public", "mansard", 2, 3.8, 1958, "矿工浴室"), where, 5.0
            )
    for where in site.rows(34, 14.5, 0.8):
        house = House(
            forms.rectangle(rng.uniform(24, 30), rng.uniform(6, 7)),
            "residential",
            "gable",
            1,
            3.2,
            int(rng.integers(1952, 1966)),
        )
        yield from site.build(house, where, 2.8)


def _campus(site: Site) -> Iterator[House]:
    """Build a school: classrooms around a yard, a hall, dormitories."""
    rng = site.rng
    for form, w, d, roof, storeys, name in (
        (forms.comb, 66.0, 40.0, "flat", 5, "教学楼"), (forms.you, 44.0, 32.0, "mansard", 4, "实验楼"),
        (forms.plain, 36.0, 24.0, "vault", 2, "体育馆"), (forms.plain, 44.0, 12.0, "hip", 6, "宿舍楼"),
        (forms.ell, 30.0, 20.0, "flat", 3, "食堂"),
    ):  # fmt: skip
        for where in site.rows(18, 16, 2):
            built = list(site.build(House(form(w, d, rng), "education", roof, storeys, 3.7, 1996, name), where, 9.0))
            if built:
                yield from built
                break


def _centre(site: Site) -> Iterator[House]:
    """High offices and hotels, each a tower that steps back on a podium."""
    rng = site.rng
    for where in site.rows(58, 52, 4):
        w, d, storeys = rng.uniform(24, 30), rng.uniform(22, 26), int(rng.integers(17, 29))
        podium = House(forms.rectangle(w + 18, d + 14), "commercial", "flat", int(rng.integers(3, 6)), 4.8, 2012)
        shaft = House(forms.cross(w, d, rng), "office", "flat", storeys - 5, 3.7, 2012)
        crown = House(forms.rectangle(w - 9, d - 9), "office", "flat", 5, 3.7, 2012)
        yield from site.build(replace(podium, parts=(podium, shaft, crown)), where, 9.0)
    yield from _front(site)


def _park(site: Site) -> Iterator[House]:
    """Pavilions, a tea house."""
    rng = site.rng
    yield from site.build(
        House(forms.round_tank(11, sides=6), "public", "mansard", 1, 4.2, 1988, "湖心亭"), place(352.0, 150.0), 4.0
    )
    for where in site.rows(40, 34, 5):
        if rng.random() < 0.25:
            yield from site.build(
                House(forms.courtyard(20, 17, rng), "public", "mansard", 1, 4.0, 1990, "茶社"), where, 14.0
            )
            break


def _terraces(site: Site) -> Iterator[House]:
    """Houses on steps up the slope, each row along it."""
    rng = site.rng
    hamlets = [where for where in site.rows(70, 60, 14) if rng.random() < 0.2]
    for where in site.rows(15.5, 15.0, 1.6):
        if not hamlets or min(math.dist(where, h) for h in hamlets) > 34 or rng.random() < 0.2:
            continue
        w, d = rng.uniform(9, 13.5), rng.uniform(6.2, 8.2)
        shape = forms.ell(w, d + 2, rng) if rng.random() < 0.2 else forms.rectangle(w, d)
        roof = str(rng.choice(("gable", "shed", "flat"), p=(0.6, 0.15, 0.25)))
        house = House(shape, "residential", roof, int(rng.integers(1, 3)), 3.1, int(rng.integers(1950, 2010)))
        yield from site.build(house, where, 2.4, site.turn + math.radians(rng.normal(0, 6)))


_BUILDERS: dict[str, Builder] = {
    "front": _front, "slabs": _slabs, "towers": _towers, "estate": _estate, "yards": _yards, "works": _works,
    "mine": _mine, "campus": _campus, "centre": _centre, "park": _park, "terraces": _terraces,
}  # fmt: skip


def _pick(rng: Rng, weighted: Sequence[tuple[forms.Form, int]]) -> forms.Form:
    weights = np.array([w for _, w in weighted], float)
    return weighted[int(rng.choice(len(weighted), p=weights / weights.sum()))][0]


def _landmarks() -> Iterator[House]:
    """Yield the buildings that people know by name."""
    rng = np.random.default_rng(7)

    def at(shape: Polygon, s: float, t: float) -> Polygon:
        return put(shape, place(s, t), bearing(s, t))

    podium = House(at(forms.rectangle(62, 40), 105, 131), "office", "flat", 4, 4.5, 2009, "阳泉市民中心裙楼")
    tower = House(at(forms.rectangle(24, 24), 105, 131), "office", "flat", 22, 3.6, 2009, "阳泉市民中心主楼")
    yield replace(podium, use="public", name="阳泉市民中心", parts=(podium, tower))
    yield House(at(forms.you(58, 44, rng), -330, 254), "education", "flat", 5, 3.6, 1993, "阳泉市第一中学教学楼")
    yield House(at(forms.aitch(60, 42, rng), 300, -245), "medical", "flat", 9, 3.8, 2003, "阳泉市第一人民医院")
    yield House(at(forms.rectangle(48, 30), -110, -250), "public", "vault", 3, 4.6, 1959, "工人文化宫")
    yield House(at(forms.rectangle(78, 30), -520, -250), "industrial", "saw", 1, 13.0, 1956, "阳煤机修厂")
    yield House(at(forms.rectangle(34, 18), 540, 96), "public", "flat", 3, 4.0, 2001, "桃河消防救援站")


def base_m(house: House, relief: Relief) -> float:
    """Return the lowest ground under a footprint, every metre along its outline."""
    xy = shapely.get_coordinates(shapely.segmentize(house.footprint, 1.0))
    return float(np.floor(relief.height(xy[:, 0], xy[:, 1]).min() * 100) / 100)
