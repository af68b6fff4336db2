"""Water, land cover, forests and trees of the sample."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import shapely

from sample_data.plan import Plan, line, patch, place, places, river
from sample_data.terrain import RIVER_HALF_WIDTH_M, Float, Relief
from sample_data.town import House

Features = tuple[Sequence[Any], dict[str, Sequence[Any]]]
PARK = ((196.0, 404.0), (72.0, 182.0))  # along and across, of the town's park
STREET_TREES = ("国槐", "悬铃木", "白蜡", "银杏")
PARK_TREES = ("垂柳", "油松", "国槐", "五角枫")
HILL_TREES = ("油松", "侧柏", "刺槐", "辽东栎")


def water() -> Features:
    """Return the river and the pond of the park."""
    shore = [shapely.Point(place(s, t)).buffer(r, 12) for s, t, r in ((352, 150, 20), (336, 140, 17), (372, 141, 13))]
    return [river(), shapely.union_all(shore).simplify(0.3)], {
        "id": ["W1", "W2"],
        "name": ["桃河", "西河公园人工湖"],
        "water_type": ["river", "pond"],
    }


def land_cover(plan: Plan, relief: Relief, half_m: float) -> Features:
    """Built-up land in the valley, fields at the foot of the hills, shrub, bare mines, parks; forest is the rest."""
    half, slope = plan.extent.half_length_m, plan.extent.slope_m
    whole = shapely.box(-half_m, -half_m, half_m, half_m)
    s = np.arange(-half - 150, half + 150, 25.0)
    built = _wavy(line(s, np.zeros_like(s)), min(slope, 520.0) - 20, 60, relief, 3)
    s = np.arange(-half_m, half_m, 40.0)
    fields = _wavy(line(s, np.zeros_like(s)), slope + 170, 210, relief, 5)
    park = patch(*PARK)
    grass = [park, patch((-600, half + 40), (30, 50)), patch((-half - 40, 600), (-50, -30))]
    meadows = [_blob(x, y, r, relief, 7) for x, y, r in _scattered(relief, int(26 * half_m / 9000), half_m * 0.7, 83)]
    shrub = [_blob(x, y, r, relief, 7) for x, y, r in _scattered(relief, int(70 * half_m / 9000), half_m * 0.95, 61)]
    mines = [
        _blob(*place(s, t), r, relief, 9) for s, t, r in ((-1500, 1250, 150), (2100, -1500, 190), (-2900, -1150, 120))
    ]
    layers: list[tuple[str, Any]] = [
        ("water", shapely.union_all(list(water()[0]))),
        ("grass", shapely.union_all(grass)),
        ("bare", shapely.union_all(mines)),
        ("built_up", built),
        ("cropland", fields),
        ("grass", shapely.union_all(meadows)),
        ("shrub", shapely.union_all(shrub)),
        ("forest", whole),
    ]
    shapes: list[Any] = []
    covers: list[str] = []
    left: Any = whole
    for cover, shape in layers:
        part = shape.intersection(left)
        left = left.difference(shape)
        polygons = [p for p in shapely.get_parts(part) if p.geom_type == "Polygon" and p.area > 50]
        if polygons:
            shapes.append(shapely.MultiPolygon(polygons))
            covers.append(cover)
    return shapes, {"id": [f"LC{k}-{c}" for k, c in enumerate(covers, 1)], "cover": covers}


def forests(cover: Features, rng: np.random.Generator, reach_m: float) -> Features:
    """Return forest blocks: the forest within reach of the town, cut into compartments."""
    shapes, columns = cover
    forest = next(shape for shape, c in zip(shapes, columns["cover"], strict=True) if c == "forest")
    near = forest.intersection(shapely.box(-reach_m, -reach_m, reach_m, reach_m))
    seeds = shapely.MultiPoint(rng.uniform(-reach_m, reach_m, (26, 2)))
    cells = shapely.get_parts(shapely.voronoi_polygons(seeds, extend_to=near))
    blocks = [piece for piece in shapely.intersection(cells, near) if piece.area > 40_000]
    blocks = [shapely.MultiPolygon([p for p in shapely.get_parts(b) if p.geom_type == "Polygon"]) for b in blocks]
    count = len(blocks)
    kinds = rng.choice(["防护林", "特种用途林", "用材林", "经济林"], count, p=[0.55, 0.1, 0.25, 0.1])
    return blocks, {
        "id": [f"F{k:02}" for k in range(1, count + 1)],
        "林班号": [f"{'北山' if b.centroid.y > 0 else '南山'}第{k}林班" for k, b in enumerate(blocks, 1)],
        "林种": kinds.tolist(),
        "优势树种": rng.choice(HILL_TREES, count).tolist(),
        "郁闭度": np.round(rng.uniform(0.35, 0.85, count), 2).tolist(),
        "火险等级": rng.choice(["二级", "三级", "四级", "五级"], count, p=[0.3, 0.4, 0.22, 0.08]).tolist(),
        "area_ha": [round(b.area / 10_000, 2) for b in blocks],
    }


def watchtowers(relief: Relief, reach_m: float) -> Features:
    """Return watchtowers on the highest ground of each quarter."""
    axis = np.linspace(-reach_m, reach_m, 161)
    x, y = np.meshgrid(axis, axis)
    z = relief.height(x, y)
    summits = []
    for east in (False, True):
        for north in (False, True):
            quarter = np.where(((x > 0) == east) & ((y > 0) == north) & (np.abs(y) > 900), z, -np.inf)
            i = np.unravel_index(int(np.argmax(quarter)), z.shape)
            summits.append((float(x[i]), float(y[i]), float(z[i])))
    return [shapely.Point(p) for p in summits], {
        "id": [f"WT{k}" for k in range(1, 5)],
        "name": ["西南岭瞭望塔", "西北岭瞭望塔", "东南岭瞭望塔", "狮脑山瞭望塔"],
        "塔高": [18.0, 15.0, 18.0, 24.0],
        "观测半径": [5000.0, 5000.0, 5000.0, 8000.0],
    }


def trees(plan: Plan, houses: Sequence[House], relief: Relief, rng: np.random.Generator) -> Features:
    """Return trees along streets and the river, in the park and the yards, and on the slopes near the town."""
    groups = [
        (np.concatenate(list(_street_trees(plan, rng))), STREET_TREES, (6.5, 11.0)),
        (np.concatenate([_row(plan, t, rng) for t in (38.0, -38.0, 46.0, -46.0)]), ("垂柳", "国槐"), (7.0, 12.0)),
        (_random_in(patch(*PARK), 130.0, rng), PARK_TREES, (6.0, 14.0)),
        (np.concatenate([_random_in(b.polygon, 260.0, rng) for b in plan.blocks()]), STREET_TREES, (4.5, 9.0)),
        (_hillside(plan, relief, rng), HILL_TREES, (4.0, 9.0)),
    ]
    xy = np.concatenate([points for points, _, _ in groups])
    species = np.concatenate([rng.choice(names, len(points)) for points, names, _ in groups])
    height = np.concatenate([rng.uniform(*size, len(points)) for points, _, size in groups])
    free = _free(xy, plan, houses)
    xy, species, height = xy[free], species[free], np.round(height[free], 1)
    crown = np.round(height * rng.uniform(0.45, 0.72, len(height)), 1)
    z = np.round(relief.height(xy[:, 0], xy[:, 1]), 2)
    shapes = shapely.points(xy[:, 0], xy[:, 1], z)
    return shapes, {
        "id": [f"T{k:06}" for k in range(1, len(xy) + 1)],
        "树种": species.tolist(),
        "树高": height.tolist(),
        "冠幅": crown.tolist(),
    }


def _street_trees(plan: Plan, rng: np.random.Generator) -> Iterator[Float]:
    for street in plan.streets:
        keep = {"arterial": 0.85, "secondary": 0.75}.get(street.road_class, 0.25)
        for side in (-1.0, 1.0):
            at = np.arange(12.0, street.line.length - 12.0, 8.5) + rng.uniform(-0.6, 0.6)
            at = at[rng.random(len(at)) < keep]
            here = shapely.get_coordinates(shapely.line_interpolate_point(street.line, at))
            ahead = shapely.get_coordinates(shapely.line_interpolate_point(street.line, at + 0.5))
            along = ahead - here
            along /= np.maximum(np.hypot(*along.T), 1e-9)[:, None]
            yield here + side * (street.width_m / 2 + 2.2) * np.stack([-along[:, 1], along[:, 0]], axis=1)


def _row(plan: Plan, t: float, rng: np.random.Generator) -> Float:
    s = np.arange(-plan.extent.half_length_m, plan.extent.half_length_m, 8.0)
    s = s[rng.random(len(s)) < 0.8]
    return places(s, np.full_like(s, t) + rng.normal(0, 0.7, len(s)))


def _random_in(area: Any, m2_each: float, rng: np.random.Generator) -> Float:
    west, south, east, north = area.bounds
    count = int((east - west) * (north - south) / m2_each)
    xy = np.stack([rng.uniform(west, east, count), rng.uniform(south, north, count)], axis=1)
    return np.asarray(xy[shapely.contains_xy(area, xy[:, 0], xy[:, 1])])


def _hillside(plan: Plan, relief: Relief, rng: np.random.Generator) -> Float:
    half, slope = plan.extent.half_length_m, plan.extent.slope_m
    count = int(min(9000, 2 * (2 * half) * 520 / 110))
    s = rng.uniform(-half - 250, half + 250, count)
    t = np.where(rng.random(count) < 0.5, -1, 1) * (slope - 90 + np.abs(rng.normal(0, 330, count)))
    xy = places(s, t)
    thick = relief.noise(xy[:, 0] / 170.0, xy[:, 1] / 170.0, 91)
    return np.asarray(xy[thick > rng.uniform(-0.4, 0.5, count)])


def _free(xy: Float, plan: Plan, houses: Sequence[House]) -> Any:
    """Return which places are neither in a building, on a street, nor in water."""
    blocked = [h.footprint.buffer(1.6) for h in houses]
    blocked += [s.line.buffer(s.width_m / 2 + 0.8, cap_style="flat") for s in plan.streets]
    blocked += [river().buffer(3), shapely.Point(place(352.0, 150.0)).buffer(22)]
    tree = shapely.STRtree(blocked)
    hit = tree.query(shapely.points(xy), "within")[0]
    free = np.ones(len(xy), bool)
    free[hit] = False
    return free


def _wavy(axis: Any, width_m: float, wave_m: float, relief: Relief, channel: int) -> Any:
    """Return the land along a line, its edge wandering in and out."""
    xy = shapely.get_coordinates(shapely.segmentize(axis, 60.0))
    radius = width_m + wave_m * relief.noise(xy[:, 0] / 260.0, xy[:, 1] / 260.0, channel)
    circles = shapely.buffer(shapely.points(xy), radius, quad_segs=8)
    return shapely.simplify(shapely.union_all(circles), 3.0)


def _blob(x: float, y: float, radius: float, relief: Relief, channel: int) -> Any:
    """Return a patch of uneven outline."""
    angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    edge = radius * (
        1
        + 0.34 * relief.noise(x / 90 + 1.6 * np.cos(angle), y / 90 + 1.6 * np.sin(angle), channel)
        + 0.16 * np.sin(3 * angle + x)
    )
    return shapely.Polygon(np.stack([x + edge * np.cos(angle), y + 0.7 * edge * np.sin(angle)], axis=1)).buffer(0)


def _scattered(relief: Relief, count: int, half_m: float, channel: int) -> list[tuple[float, float, float]]:
    k = np.arange(count, dtype=np.float64)
    x, y = relief.noise(k * 7.31, k * 0.77, channel) * half_m, relief.noise(k * 3.17, k * 5.93, channel + 6) * half_m
    size = 130.0 + 90.0 * relief.noise(k * 1.7, k * 2.3, channel + 10)
    return list(zip(x.tolist(), y.tolist(), size.tolist(), strict=True))


def banks(relief: Relief, s: float) -> tuple[float, float]:
    """Return the heights of the two banks at a place along the river, south first."""
    edge = RIVER_HALF_WIDTH_M + 14.0
    xy = places(np.array([s, s]), np.array([-edge, edge]))
    south, north = relief.height(xy[:, 0], xy[:, 1]).tolist()
    return south, north
