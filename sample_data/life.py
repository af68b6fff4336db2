"""What happens in the sample town: people by community, a week in its car parks, a week of its sensors."""

import csv
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from sample_data import town

BEIJING = timezone(timedelta(hours=8))
WEEK_FROM = datetime(2024, 5, 6, tzinfo=BEIJING)  # a Monday
COUNT_EVERY_MIN = 30
FLOOR_AREA_PER_PERSON_M2 = 34.0
Features = tuple[Sequence[Any], dict[str, Sequence[Any]]]


def communities(houses: Sequence[town.House], cells: Sequence[Any]) -> Features:
    """Return four communities, made of management grid cells, with the people that their dwellings hold."""
    half, people = len(cells) // 2, []
    north = half * 5 // 9  # the river's row and those above it
    groups = (cells[:north], cells[north:half], cells[half : half + north], cells[half + north :])
    shapes = [shapely.union_all(list(group)) for group in groups]
    for shape in shapes:
        inside = [h for h in houses if h.use == "residential" and shape.contains(h.footprint.centroid)]
        area = sum(h.footprint.area * h.storeys for h in inside)
        people.append(round(area / FLOOR_AREA_PER_PERSON_M2))
    return shapes, {
        "id": ["C1", "C2", "C3", "C4"],
        "社区": ["德胜社区", "南大街社区", "新华社区", "义井社区"],
        "常住人口": people,
        "老年人口": [round(p * share) for p, share in zip(people, (0.19, 0.23, 0.16, 0.21), strict=True)],
    }


def hospitals() -> Features:
    """Return two hospitals."""
    return [shapely.Point(town.place(-330, 178)), shapely.Point(town.place(560, -178))], {
        "id": ["H1", "H2"],
        "name": ["阳泉样例第一医院", "矿区总医院"],
        "hospital_level": ["三级甲等", "二级甲等"],
        "beds": [820, 410],
    }


def shelters() -> Features:
    """Return shelters: the park, two squares, a school's ground."""
    places = [(330, 128), (-120, -128), (610, 240), (-560, 250)]
    return [shapely.Point(town.place(s, t)) for s, t in places], {
        "id": ["S1", "S2", "S3", "S4"],
        "name": ["西河公园", "义井广场", "洪城体育场", "赛鱼中学操场"],
        "类别": ["固定", "紧急", "固定", "紧急"],
        "容纳人数": [4200, 1500, 3600, 1800],
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
)


def sensors() -> Features:
    """Return the sensors."""
    return [shapely.Point(town.place(s, t)) for *_, (s, t), _, _ in SENSORS], {
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
