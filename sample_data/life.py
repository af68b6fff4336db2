"""What happens in the sample town: its people, a week in its car parks, of its sensors, events and patrols."""

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import shapely

from sample_data.plan import Plan, place
from sample_data.terrain import EAST, NORTH, Relief
from sample_data.things import COUNTY, Features, community_name
from sample_data.town import House

BEIJING = timezone(timedelta(hours=8))
WEEK_FROM = datetime(2024, 5, 6, tzinfo=BEIJING)  # a Monday
COUNT_EVERY_MIN = 30
FLOOR_AREA_PER_PERSON_M2 = 34.0
_ELDERLY = (0.19, 0.23, 0.16, 0.21)


def communities(houses: Sequence[House], plan: Plan) -> Features:
    """Return the communities, made of management grid cells, with the people that their dwellings hold."""
    cells: dict[int, list[shapely.Polygon]] = {}
    for community, _, shape in plan.cells():
        cells.setdefault(community, []).append(shape)
    shapes = [shapely.union_all(shapely.set_precision(np.array(group, object), 0.001)) for group in cells.values()]
    homes = [part for h in houses for part in (h.parts or (h,)) if part.use == "residential"]
    floor = np.array([h.footprint.area * h.storeys for h in homes])
    tree = shapely.STRtree(shapely.centroid([h.footprint for h in homes]))
    people = [round(floor[tree.query(shape, "contains")].sum() / FLOOR_AREA_PER_PERSON_M2) for shape in shapes]
    return shapes, {
        "id": [f"C{k}" for k in cells],
        "社区": [community_name(k) for k in cells],
        "常住人口": people,
        "老年人口": [round(p * _ELDERLY[k % 4]) for k, p in enumerate(people)],
    }


def write_parking_counts(path: Path, lots: Sequence[str], spaces: Sequence[int], rng: np.random.Generator) -> None:
    """Write a week of counts: cars come to work or home by the lot's habit; one counter fails for six hours."""
    steps = 7 * 24 * 60 // COUNT_EVERY_MIN
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["停车场", "时间", "占用泊位", "驶入", "驶出"])
        for number, (lot, room) in enumerate(zip(lots, spaces, strict=True)):
            failed = range(100, 112) if number == 3 else range(0)
            occupied = round(_wanted(0, number) * room)
            for step in range(steps):
                wanted = round(_wanted(step, number) * room + rng.normal(0, 0.05 * room))
                passing = int(rng.poisson(0.06 * room))  # come and go between two counts
                change = min(max(wanted, 0), room) - occupied if step else 0
                entered, left = max(change, 0) + passing, max(-change, 0) + passing
                occupied += change
                moment = WEEK_FROM + timedelta(minutes=COUNT_EVERY_MIN * step)
                if step not in failed:
                    rows.writerow([lot, moment.isoformat(), occupied, entered if step else 0, left if step else 0])


def _wanted(step: int, lot: int) -> float:
    """Return the share of a lot that is wanted: by day near work, by night near homes, less at the week's end."""
    hour = step * COUNT_EVERY_MIN / 60
    day, time = divmod(hour, 24)
    by_day = math.exp(-(((time - 14) / 4.5) ** 2))
    share = 0.15 + 0.75 * (by_day if lot % 2 else 1 - by_day)
    return share * (0.7 if day >= 5 and lot % 2 else 1.0)


SENSORS = (
    ("SN1", "桃河水位", "water_level", "m", (-300, 8), 687.4, 0.25),
    ("SN2", "泉中路空气站 PM2.5", "pm2_5", "ug/m3", (-600, 80), 46.0, 22.0),
    ("SN3", "府新街噪声", "noise_level", "dB", (190, 70), 61.0, 7.0),
    ("SN4", "德胜街气温", "air_temperature", "Cel", (20, 196), 17.0, 6.5),
    ("SN5", "矿工街燃气", "methane", "%", (-395, -190), 0.02, 0.01),
    ("SN6", "市民中心空气站 PM10", "pm10", "ug/m3", (120, 104), 88.0, 35.0),
    ("SN7", "北山雨量", "rainfall", "mm", (420, 330), 0.4, 0.5),
    ("SN8", "南山滑坡位移", "displacement", "mm", (-130, -420), 2.1, 0.4),
    ("SN9", "义井积水", "water_depth", "m", (60, -68), 0.03, 0.03),
    ("SN10", "第一中学室内 CO2", "co2", "[ppm]", (-330, 240), 720.0, 260.0),
    ("SN11", "桃河流量", "discharge", "m3/s", (430, -6), 11.0, 3.0),
    ("SN12", "北山林区湿度", "humidity", "%", (-90, 560), 46.0, 18.0),
)


def sensors() -> Features:
    """Return the sensors."""
    return [shapely.Point(place(s, t)) for *_, (s, t), _, _ in SENSORS], {
        "id": [row[0] for row in SENSORS],
        "name": [row[1] for row in SENSORS],
        "observed_property": [row[2] for row in SENSORS],
        "uom": [row[3] for row in SENSORS],
    }


def write_sensor_values(path: Path, rng: np.random.Generator) -> None:
    """Write a week of hourly values."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["sensor", "time", "value"])
        for identifier, hour, mean, spread in _hours():
            wave = math.sin((hour % 24 - 9) / 24 * 2 * math.pi)
            value = mean + spread * (0.8 * wave + 0.2 * float(rng.normal()))
            moment = WEEK_FROM + timedelta(hours=hour)
            rows.writerow([identifier, moment.isoformat(), f"{value:.3f}"])


def _hours() -> Iterator[tuple[str, int, float, float]]:
    for identifier, *_, mean, spread in SENSORS:
        for hour in range(7 * 24):
            yield identifier, hour, mean, spread


_CATEGORIES = (
    ("占道停车", "交警"),
    ("井盖缺失", "市政"),
    ("垃圾堆放", "环卫"),
    ("噪声扰民", "环保"),
    ("路灯不亮", "市政"),
    ("供暖不热", "住建"),
)


def events(plan: Plan, rng: np.random.Generator) -> Features:
    """Return a month of events and calls: more where streets are large, most of them closed."""
    count = max(180, len(plan.streets) * 2)
    weight = np.array([s.line.length * s.width_m for s in plan.streets])
    chosen = rng.choice(len(plan.streets), count, p=weight / weight.sum())
    points = [plan.streets[i].line.interpolate(float(rng.random()), normalized=True) for i in chosen.tolist()]
    kinds = [_CATEGORIES[i] for i in rng.integers(len(_CATEGORIES), size=count).tolist()]
    reported = [WEEK_FROM - timedelta(hours=float(h)) for h in np.sort(rng.uniform(0, 720, count))[::-1]]
    status = rng.choice(["结案", "处置中", "派遣", "上报"], count, p=[0.78, 0.1, 0.07, 0.05]).tolist()
    closed = [
        (moment + timedelta(hours=float(rng.gamma(2.0, 9.0)))).isoformat() if s == "结案" else None
        for moment, s in zip(reported, status, strict=True)
    ]
    return points, {
        "id": [f"EV{k:05}" for k in range(1, count + 1)],
        "标题": [f"{plan.streets[i].name}{kind}" for i, (kind, _) in zip(chosen.tolist(), kinds, strict=True)],
        "事件编码": [f"{COUNTY}01{k % 24 + 1:02}" for k in range(count)],
        "类别": [kind for kind, _ in kinds],
        "上报时间": [moment.isoformat() for moment in reported],
        "结案时间": closed,
        "状态": status,
        "处置部门": [office for _, office in kinds],
        "上报人": [f"市民{k:04}" for k in range(1, count + 1)],
    }


def patrols(plan: Plan, rng: np.random.Generator) -> Features:
    """Return a day's tracks of grid patrols: walks over neighbouring street segments."""
    ends: dict[tuple[int, int], list[int]] = {}
    for k, street in enumerate(plan.streets):
        for x, y in (street.line.coords[0], street.line.coords[-1]):
            ends.setdefault((round(x), round(y)), []).append(k)
    shapes, starts = [], []
    for number in range(10):
        at, came, xy = int(rng.integers(len(plan.streets))), None, []
        for _ in range(9):
            coords = list(plan.streets[at].line.coords)
            if came is not None and (round(coords[-1][0]), round(coords[-1][1])) == came:
                coords = coords[::-1]
            xy += coords
            came = (round(coords[-1][0]), round(coords[-1][1]))
            at = int(rng.choice(ends[came]))
        shapes.append(shapely.LineString(np.array(xy) + rng.normal(0, 1.1, (len(xy), 2))))
        starts.append(WEEK_FROM + timedelta(hours=8 + number % 3 * 3, minutes=float(rng.uniform(0, 40))))
    return shapes, {
        "id": [f"PT{k:02}" for k in range(1, 11)],
        "班次": [f"5月6日第{k}班" for k in range(1, 11)],
        "网格员": [f"网格员{k:02}" for k in range(1, 11)],
        "开始时间": [moment.isoformat() for moment in starts],
        "结束时间": [(moment + timedelta(minutes=95)).isoformat() for moment in starts],
    }


def write_control_points(path: Path, relief: Relief, rng: np.random.Generator) -> None:
    """Write control points as surveyors deliver them: a table of northing, easting and height, in that order."""
    with path.open("w", encoding="gb18030", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["点号", "等级", "北坐标", "东坐标", "高程"])
        for k in range(1, 15):
            s, t = float(rng.uniform(-800, 800)), float(rng.uniform(-520, 520))
            x, y = place(s, t)
            height = float(relief.height(np.array([x]), np.array([y]))[0])
            rows.writerow([f"YQ{k:02}", "BCDE"[k % 4] + "级", f"{NORTH + y:.4f}", f"{EAST + x:.4f}", f"{height:.3f}"])
