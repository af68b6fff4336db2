"""`parking_indicators`: how full car parks are, how often their spaces change hands, and the week they have.

Definitions, after the usual ones of parking surveys: turnover = vehicles in a period ÷ spaces, here per day, where a
vehicle that was there at the beginning counts; utilisation = parked time ÷ (spaces × period).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import field_validator

from cim.analysis.engine import parameters
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.registry import Inputs, Need, Progress
from cim.analysis.engine.result import Check, Output, Result
from cim.catalog.model import Catalog, Text
from cim.errors import BadRequest, NotFound

Float = NDArray[np.float64]
HOURS_A_WEEK = 168
NS_PER_HOUR = 3_600_000_000_000
DECLARED, GREATEST_FREE = "declared", "greatest number seen"
ENTRIES, NET_CHANGES = "entries", "net changes of counts: a lower bound"


class Parameters(parameters.Parameters):
    """Which period, or which sessions."""

    start: datetime | None = titled("开始", "From", default=None, description="none: the first count")
    end: datetime | None = titled("结束", "Until", default=None, description="none: the last count")
    max_gap_min: float = titled(
        "最长间隔", "Longest gap", unit="min", default=60, gt=0, description="a count holds no longer than this"
    )
    sessions: list[dict[str, Any]] | None = titled(
        "停车记录", "Sessions", default=None, description="rows of id, lot, enter, leave instead of counts"
    )
    spaces: float | None = titled("泊位数", "Spaces", unit="1", default=None, gt=0, description="of the sessions' lot")

    @field_validator("start", "end")
    @classmethod
    def _aware(cls, moment: datetime | None) -> datetime | None:
        if moment and moment.tzinfo is None:
            raise ValueError("a time needs its offset, such as 2024-05-06T00:00:00+08:00")
        return moment


OUTPUTS = (
    Output("id", Text(zh="停车场", en="Car park")),
    Output("name", Text(zh="名称", en="Name")),
    Output("spaces", Text(zh="泊位数", en="Spaces"), "1"),
    Output("spaces_from", Text(zh="泊位数来源", en="Spaces from")),
    Output("occupancy", Text(zh="平均占用率", en="Occupancy"), "1", Text(zh="按时间加权", en="weighted by time")),
    Output("peak_occupancy", Text(zh="最高占用率", en="Peak occupancy"), "1"),
    Output("peak_hour", Text(zh="高峰小时", en="Peak hour"), None, Text(zh="一周中的小时", en="weekday and hour")),
    Output(
        "turnover_per_space_day", Text(zh="日均周转率", en="Turnover per space and day"), "/d",
        Text(zh="期间车辆数（含期初在场）÷泊位数÷天数", en="vehicles, those there at first too, ÷ spaces ÷ days"),
    ),
    Output("turnover_from", Text(zh="周转率依据", en="Turnover from")),
    Output("vehicles", Text(zh="车辆数", en="Vehicles"), "1"),
    Output("covered", Text(zh="有效时间比例", en="Share of time covered"), "1"),
    Output("week", Text(zh="一周占用率", en="Week"), "1", Text(zh="周一零点起每小时", en="per hour from Monday 0 h")),
)  # fmt: skip


def needs(asked: Parameters, catalog: Catalog) -> Mapping[str, Need]:
    """Return car parks and their counts; nothing where sessions are given."""
    if asked.sessions is not None:
        return {}
    lots, counts = catalog.with_role("parking_lots"), catalog.with_role("parking_counts")
    if lots is None or counts is None:
        raise NotFound("the catalog has no layers with the roles parking_lots and parking_counts")
    span = [
        f"time {sign} TIMESTAMP('{_utc(moment)}')" for sign, moment in ((">=", asked.start), ("<", asked.end)) if moment
    ]
    return {"lots": Need(lots), "counts": Need(counts, " AND ".join(span) or None)}


def _utc(moment: datetime) -> str:
    return pd.Timestamp(moment).tz_convert("UTC").strftime("%Y-%m-%dT%H:%M:%SZ")


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return a row a car park."""
    if asked.sessions is not None:
        return _of_sessions(asked)
    lots, counts = inputs.frames["lots"], inputs.frames["counts"]
    by_lot = dict(tuple(counts.sort_values(["feature", "time"]).groupby("feature", sort=False)))
    rows, weeks = [], []
    seconds = hours = 0.0
    for n, lot in enumerate(lots.itertuples(index=False)):
        progress(n / max(len(lots), 1), str(lot.id))
        values = by_lot.get(lot.id)
        if values is None:
            continue
        series = lot_series(values, _spaces(lot))
        found = parking_indicators(series, asked.max_gap_min * 60, inputs.city.timezone)
        rows.append({"id": lot.id, "name": getattr(lot, "name", lot.id), **found.row, "geometry": lot.geometry})
        weeks.append(found.week)
        seconds += found.covered_s
        hours += found.week_hours
    gdf = gpd.GeoDataFrame(rows, geometry="geometry", crs=lots.crs) if rows else lots.iloc[:0][["id", "geometry"]]
    if rows:
        gdf.insert(len(gdf.columns) - 1, "week", weeks)
    without = sorted(set(lots["id"]) - set(gdf["id"]))
    lost = abs(seconds / 3600 - hours)
    check = Check(
        lost <= 1e-6 * max(1.0, hours), "hours of the week's profile = hours covered by counts",
        {"covered_hours": seconds / 3600, "week_hours": hours, "lost": lost},
    )  # fmt: skip
    spaces = float(gdf["spaces"].sum()) if rows else 0.0
    figures = {
        "spaces": spaces,
        "occupancy": float((gdf["occupancy"] * gdf["spaces"]).sum() / spaces) if spaces else None,
        "lots_without_counts": without,
    }
    return Result(gdf, check, figures)


def _spaces(lot: Any) -> float | None:
    spaces = getattr(lot, "spaces", None)
    return float(spaces) if spaces is not None and not pd.isna(spaces) and spaces > 0 else None


@dataclass(frozen=True)
class LotSeries:
    """Counts of one car park in the order of time."""

    time_ns: NDArray[np.int64]  # (n,) since 1970, UTC
    occupied: Float  # (n,)
    entered: Float | None  # (n,) since the count before; None: not counted
    spaces: float
    spaces_from: str


def lot_series(counts: pd.DataFrame, spaces: float | None) -> LotSeries:
    """Return the counts of a car park.

    Args:
        counts: columns time (UTC), and occupied or free, and entered where it is counted; in the order of time.
        spaces: declared; None: the greatest number free or occupied that was seen stands in.

    """
    time_ns = counts["time"].to_numpy("datetime64[ns]").astype(np.int64)
    occupied, free, entered = (_column(counts, name) for name in ("occupied", "free", "entered"))
    both = occupied + free
    greatest = np.nanmax(np.concatenate([both, free, occupied]), initial=0.0)
    room = spaces or float(greatest)
    occupied = np.where(np.isnan(occupied), room - free, occupied)
    known = ~np.isnan(occupied)
    counted = entered[known] if not np.isnan(entered).all() else None
    return LotSeries(time_ns[known], occupied[known], counted, room, DECLARED if spaces else GREATEST_FREE)


def _column(frame: pd.DataFrame, name: str) -> Float:
    if name not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))


@dataclass(frozen=True)
class LotIndicators:
    """What a car park's counts say."""

    row: Mapping[str, Any]
    week: list[float | None]  # (168,) mean occupancy of each hour from Monday 0 h of the city's clock
    covered_s: float
    week_hours: float


def parking_indicators(series: LotSeries, max_gap_s: float, timezone: str) -> LotIndicators:
    """Return the indicators of one car park.

    A count holds until the next, at most `max_gap_s`; what lies beyond is a gap, in which nothing is assumed.
    """
    if len(series.time_ns) == 0 or series.spaces <= 0:
        return LotIndicators({"spaces": series.spaces, "spaces_from": series.spaces_from}, [], 0.0, 0.0)
    gap_ns = int(max_gap_s * 1e9)
    steps = np.diff(series.time_ns)
    usual = int(np.median(steps)) if len(steps) else gap_ns
    held = np.minimum(np.append(steps, usual), gap_ns)
    share = series.occupied / series.spaces
    week, week_hours = _week(series.time_ns, held, share, timezone)
    joined = np.append(False, steps <= gap_ns)  # counts that follow another without a gap
    if series.entered is not None:
        vehicles, basis = series.occupied[0] + np.nansum(series.entered[1:]), ENTRIES
    else:
        rises = np.maximum(np.diff(series.occupied, prepend=series.occupied[0]), 0)
        vehicles, basis = series.occupied[0] + rises[joined].sum(), NET_CHANGES
    covered_s = float(held.sum()) / 1e9
    days = covered_s / 86_400
    peak = int(np.argmax(share))
    local = pd.Timestamp(series.time_ns[peak], unit="ns", tz="UTC").tz_convert(timezone)
    span = float(series.time_ns[-1] - series.time_ns[0] + held[-1]) / 1e9
    row = {
        "spaces": series.spaces,
        "spaces_from": series.spaces_from,
        "occupancy": float((share * held).sum() / held.sum()),
        "peak_occupancy": float(share[peak]),
        "peak_hour": f"{local:%a %H}:00",
        "turnover_per_space_day": float(vehicles / series.spaces / days) if days else None,
        "turnover_from": basis,
        "vehicles": float(vehicles),
        "covered": covered_s / span if span else 1.0,
    }
    return LotIndicators(row, week, covered_s, week_hours)


def _week(time_ns: NDArray[np.int64], held: NDArray[np.int64], share: Float, timezone: str) -> tuple[list[Any], float]:
    """Return the mean share of each hour of the week, and the hours that all of them hold; spans are cut at hours."""
    local = pd.DatetimeIndex(pd.to_datetime(time_ns, utc=True)).tz_convert(timezone).tz_localize(None)
    start = local.to_numpy("datetime64[ns]").astype(np.int64)
    monday = int(np.datetime64("1970-01-05", "ns").astype(np.int64))
    parts = (start % NS_PER_HOUR + held - 1) // NS_PER_HOUR + 1  # hours that a span touches
    row = np.repeat(np.arange(len(held)), parts)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
    hour_start = (start[row] // NS_PER_HOUR + nth) * NS_PER_HOUR
    low = np.maximum(start[row], hour_start)
    high = np.minimum(start[row] + held[row], hour_start + NS_PER_HOUR)
    weight = (high - low) / NS_PER_HOUR
    hour = ((hour_start - monday) // NS_PER_HOUR) % HOURS_A_WEEK
    hours = np.bincount(hour, weight, minlength=HOURS_A_WEEK)
    sums = np.bincount(hour, weight * share[row], minlength=HOURS_A_WEEK)
    means = [float(s / h) if h > 0 else None for s, h in zip(sums, hours, strict=True)]
    return means, float(hours.sum())


def _of_sessions(asked: Parameters) -> Result:
    rows = pd.DataFrame(asked.sessions)
    if not {"enter", "leave"} <= set(rows.columns):
        raise BadRequest("sessions: rows of enter and leave, and lot where there are several")
    if asked.spaces is None or asked.start is None or asked.end is None:
        raise BadRequest("sessions need spaces, start and end")
    enter, leave = (
        pd.to_datetime(rows[name], utc=True, format="ISO8601", errors="coerce") for name in ("enter", "leave")
    )
    found = session_indicators(
        enter.to_numpy("datetime64[ns]").astype(np.int64),
        np.where(leave.isna(), np.iinfo(np.int64).max, leave.to_numpy("datetime64[ns]").astype(np.int64)),
        spaces=asked.spaces,
        start_ns=pd.Timestamp(asked.start).value,
        end_ns=pd.Timestamp(asked.end).value,
    )
    gdf = gpd.GeoDataFrame({"id": ["sessions"], **{k: [v] for k, v in found.items()}})
    capacity = asked.spaces * (pd.Timestamp(asked.end) - pd.Timestamp(asked.start)).total_seconds() / 3600
    check = Check(
        found["parked_hours"] <= capacity + 1e-9, "parked hours ≤ spaces × period",
        {"parked_hours": found["parked_hours"], "capacity_hours": capacity},
    )  # fmt: skip
    return Result(gdf, check, found)


def session_indicators(
    enter_ns: NDArray[np.int64], leave_ns: NDArray[np.int64], *, spaces: float, start_ns: int, end_ns: int
) -> dict[str, float]:
    """Return turnover and utilisation of a car park from the sessions of its vehicles.

    Args:
        enter_ns: (n,) since 1970, UTC.
        leave_ns: (n,) likewise; a session that never ended has the greatest integer, and counts to the end.
        spaces: of the car park.
        start_ns: beginning of the period.
        end_ns: end of the period.

    """
    inside = (enter_ns < end_ns) & (leave_ns > start_ns)
    parked = np.minimum(leave_ns[inside], end_ns) - np.maximum(enter_ns[inside], start_ns)
    days = (end_ns - start_ns) / (24 * NS_PER_HOUR)
    parked_hours = float(parked.sum()) / NS_PER_HOUR
    vehicles, entered = int(inside.sum()), int((inside & (enter_ns >= start_ns)).sum())
    return {
        "vehicles": vehicles,
        "entered": entered,
        "parked_hours": parked_hours,
        "utilisation": parked_hours / (spaces * days * 24),
        "turnover_per_space_day": vehicles / spaces / days,
        "entries_per_space_day": entered / spaces / days,
    }
