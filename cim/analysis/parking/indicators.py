"""`parking_indicators`: how full car parks are, how often their spaces change hands, and the week they have.

Definitions, after the usual ones of parking surveys: turnover = vehicles in a period ÷ spaces, here per day, where a
vehicle that was there at the beginning counts; utilisation = parked time ÷ (spaces × period).

A count that can't be (fewer than none free or occupied, more than there are spaces) enters no figure: it is set aside,
counted with its car park, and a free count of −1 is read as what it means in practice, a sensor that is offline.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import field_validator, model_validator

from cim.analysis.engine import parameters
from cim.analysis.engine.declaration import Declaration, Legend, Output, Plot, Progress
from cim.analysis.engine.inputs import Inputs, numbers, with_role
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.result import Check, Result, all_of, rows_of
from cim.analysis.engine.unknown import Unknown, absent, too_few, unusable
from cim.catalog.model import Layer
from cim.catalog.row import Text
from cim.errors import BadRequest
from cim.messages import say

Float = NDArray[np.float64]
HOURS_A_WEEK = 168
FIRST_YEAR, LAST_YEAR = 1678, 2261  # that nanoseconds in 64 bits reach
NS_PER_HOUR = 3_600_000_000_000
DECLARED, GREATEST_FREE = "declared", "greatest number seen"
ENTRIES, NET_CHANGES = "entries", "net changes of counts: a lower bound"
OFFLINE = -1  # what counters send while they have no connection
LEAST_HOURS = 24  # of the week that a peak hour is chosen from
NEVER = int(np.iinfo(np.int64).max)  # when a session without `leave` ended


class Parameters(parameters.Parameters):
    """Which period, or which sessions."""

    start: datetime | None = titled("开始", "From", default=None, description="none: the first count")
    end: datetime | None = titled("结束", "Until", default=None, description="none: the last count")
    max_gap_min: float = titled(
        "最长间隔", "Longest gap", unit="min", default=60, gt=0, le=44_640,
        description="a count holds no longer than this",
    )  # fmt: skip
    sessions: list[dict[str, Any]] | None = titled(
        "停车记录", "Sessions", default=None, description="rows of id, lot, enter, leave instead of counts"
    )
    spaces: float | None = titled(
        "泊位数", "Spaces", unit="1", default=None, ge=1, le=1_000_000, description="of the sessions' lot"
    )

    @field_validator("start", "end")
    @classmethod
    def _of_our_times(cls, moment: datetime | None) -> datetime | None:
        if moment and not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValueError(f"a year from {FIRST_YEAR} to {LAST_YEAR}")
        return moment

    @model_validator(mode="after")
    def _in_order(self) -> "Parameters":
        alike = self.start and self.end and (self.start.tzinfo is None) == (self.end.tzinfo is None)
        if alike and self.start >= self.end:  # type: ignore[operator]
            raise ValueError("start must be before end")
        return self


SPACES_FROM = {
    DECLARED: Text(zh="登记", en="declared"),
    GREATEST_FREE: Text(zh="所见最大数（推定）", en="greatest number seen (assumed)"),
}
TURNOVER_FROM = {
    ENTRIES: Text(zh="驶入计数", en="entries"),
    NET_CHANGES: Text(zh="占用净变化（下限）", en="net changes of counts: a lower bound"),
}
COLUMNS = (
    Output("id", Text(zh="停车场", en="Car park"), shown=False),
    Output("name", Text(zh="名称", en="Name")),
    Output("occupancy", Text(zh="平均占用率", en="Occupancy"), "1", Text(zh="按时间加权", en="weighted by time")),
    Output("spaces", Text(zh="泊位数", en="Spaces"), "1"),
    Output("spaces_from", Text(zh="泊位数来源", en="Spaces from"), values=SPACES_FROM),
    Output(
        "peak_occupancy", Text(zh="最高占用率", en="Peak occupancy"), "1",
        Text(zh="单次计数的最高值", en="of one count"),
    ),
    Output(
        "peak_hour", Text(zh="高峰小时", en="Peak hour"), None,
        Text(zh="一周中平均占用率最高的小时", en="the hour of the week with the highest mean occupancy"),
    ),
    Output(
        "turnover_per_space_day", Text(zh="日均周转率", en="Turnover per space and day"), "/d",
        Text(zh="期间车辆数（含期初在场）÷泊位数÷天数", en="vehicles, those there at first too, ÷ spaces ÷ days"),
    ),
    Output("turnover_from", Text(zh="周转率依据", en="Turnover from"), values=TURNOVER_FROM, shown=False),
    Output("vehicles", Text(zh="车辆数", en="Vehicles"), "1"),
    Output("covered", Text(zh="有效时间比例", en="Share of time covered"), "1"),
    Output(
        "set_aside", Text(zh="剔除计数", en="Counts set aside"), "1",
        Text(zh="不可能的计数，未计入任何指标", en="counts that can't be; they enter no figure"),
    ),
    Output(
        "week", Text(zh="一周占用率", en="Week"), "1", Text(zh="周一零点起每小时", en="per hour from Monday 0 h"),
        shown=False,
    ),
)  # fmt: skip
SESSION_COLUMNS = (
    Output("lot", Text(zh="停车场", en="Car park")),
    Output("vehicles", Text(zh="车辆数", en="Vehicles"), "1"),
    Output("entered", Text(zh="驶入数", en="Entered"), "1"),
    Output("parked_hours", Text(zh="停车时长", en="Parked time"), "h"),
    Output(
        "utilisation", Text(zh="利用率", en="Utilisation"), "1", Text(zh="停车时长÷(泊位数×期间)", en="parked ÷ room")
    ),
    Output("turnover_per_space_day", Text(zh="日均周转率", en="Turnover per space and day"), "/d"),
    Output("entries_per_space_day", Text(zh="日均驶入率", en="Entries per space and day"), "/d"),
    Output("spaces", Text(zh="泊位数", en="Spaces"), "1"),
)
FIGURES = (
    Output(
        "occupancy", Text(zh="平均占用率", en="Occupancy"), "1",
        Text(zh="登记了泊位数的停车场", en="of car parks with declared spaces"), headline=True,
    ),
    Output("spaces", Text(zh="登记泊位数", en="Declared spaces"), "1"),
    Output("spaces_assumed", Text(zh="推定泊位数", en="Assumed spaces"), "1", Text(zh="未计入占用率", en="not in it")),
    Output("counts_set_aside", Text(zh="剔除计数", en="Counts set aside"), "1"),
    Output("sessions_set_aside", Text(zh="剔除记录", en="Sessions set aside"), "1"),
    Output("lots_without_counts", Text(zh="无计数的停车场", en="Car parks without counts"), shown=False),
    *(output for output in SESSION_COLUMNS if output.name != "lot"),
)  # fmt: skip
WEEKDAYS = tuple(
    (24 * n, Text(zh=zh, en=en))
    for n, (zh, en) in enumerate(
        (("一", "Mon"), ("二", "Tue"), ("三", "Wed"), ("四", "Thu"), ("五", "Fri"), ("六", "Sat"), ("日", "Sun"))
    )
)


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return a row a car park."""
    lot_layer, count_layer = with_role(inputs, "parking_lots"), with_role(inputs, "parking_counts")
    lots = inputs.frame(lot_layer, columns=("name", "spaces"))
    if asked.sessions is not None:
        return _of_sessions(asked, lots, lot_layer, inputs.city.timezone)
    counts = inputs.series(count_layer, asked.start, asked.end)
    by_lot = dict(tuple(counts.groupby("feature", sort=False)))
    spaces, impossible_spaces = numbers(lots, lot_layer, "spaces")
    records: list[dict[str, Any]] = []
    lot_indicators: list[LotIndicators] = []
    for n, (lot, declared) in enumerate(zip(lots.itertuples(index=False), spaces, strict=True)):
        progress(n / max(len(lots), 1), str(lot.id))
        values = by_lot.get(lot.id)
        if values is None:
            continue
        series = lot_series(values, float(declared) if declared > 0 else None)
        indicators = parking_indicators(series, asked.max_gap_min * 60, inputs.city.timezone)
        lot_indicators.append(indicators)
        name = getattr(lot, "name", None) or lot.id
        records.append({"id": lot.id, "name": name, **indicators.row, "geometry": lot.geometry})
    gdf = rows_of(records, [column.name for column in COLUMNS], lots.crs)
    without = sorted(set(lots["id"]) - {record["id"] for record in records})
    figures = _totals(records, absent(lot_layer if lots.empty else count_layer)) | {"lots_without_counts": without}
    notes = [*_set_aside_notes(records, lot_indicators), *_unknown_lots(counts, lots)]
    if impossible_spaces:
        notes.append(
            Text(
                zh=f"{impossible_spaces} 个停车场登记的泊位数不可能，未采用",
                en=f"the declared spaces of {impossible_spaces} car parks can't be and aren't used",
            )
        )
    return Result(gdf, _checked(records, lot_indicators), figures, notes=tuple(notes))


def _totals(records: Sequence[Mapping[str, Any]], nothing: Unknown) -> dict[str, Any]:
    """Return the figures of all car parks; guessed numbers of spaces stand apart."""
    declared = [r for r in records if r["spaces_from"] == DECLARED]
    usable = [r for r in declared if not isinstance(r["occupancy"], Unknown)]
    room = sum(r["spaces"] for r in usable)
    few = Text(zh="有登记泊位数且有计数的停车场", en="car parks with declared spaces and usable counts")
    occupancy: Any = nothing if not records else too_few(0, 1, few)
    if room:
        occupancy = float(sum(r["occupancy"] * r["spaces"] for r in usable) / room)
    assumed = [r["spaces"] for r in records if r["spaces_from"] != DECLARED and not isinstance(r["spaces"], Unknown)]
    return {
        "occupancy": occupancy,
        "spaces": float(sum(r["spaces"] for r in declared)) if records else nothing,
        "spaces_assumed": float(sum(assumed)),
        "counts_set_aside": int(sum(r["set_aside"] for r in records)),
    }


def _checked(records: Sequence[Mapping[str, Any]], lot_indicators: Sequence["LotIndicators"]) -> Check:
    """Every share lies between 0 and 1, and the hours of the week give the mean that the counts give."""
    shares = [
        value
        for record, indicators in zip(records, lot_indicators, strict=True)
        for value in (record["occupancy"], record["peak_occupancy"], *indicators.week)
        if isinstance(value, float)
    ]
    in_range = Check(
        all(0.0 <= share <= 1.0 for share in shares) if shares else None,
        Text(zh="各占用率在 0 与 1 之间", en="every occupancy lies between 0 and 1"),
        {"least": min(shares, default=None), "greatest": max(shares, default=None)},
    )
    gaps = [
        abs(indicators.week_mean - record["occupancy"])
        for record, indicators in zip(records, lot_indicators, strict=True)
        if isinstance(record["occupancy"], float)
    ]
    agree = Check(
        max(gaps) <= 1e-6 if gaps else None,
        Text(zh="按周分小时的平均与按计数的平均一致", en="the mean over hours of the week is that over counts"),
        {
            "largest_difference": max(gaps, default=None),
            "covered_hours": sum(i.covered_s for i in lot_indicators) / 3600,
            "week_hours": sum(i.week_hours for i in lot_indicators),
        },
    )
    return all_of([in_range, agree])


def _set_aside_notes(records: Sequence[Mapping[str, Any]], lot_indicators: Sequence["LotIndicators"]) -> list[Text]:
    """Name each car park of which counts were set aside, and why."""
    return [
        Text(
            zh=f"{record['name']}（{record['id']}）：{indicators.set_aside} 次计数不可能，未计入"
            + (f"，其中 {indicators.offline} 次为传感器离线（−1）" if indicators.offline else ""),
            en=f"{record['name']} ({record['id']}): {indicators.set_aside} counts can't be and enter no figure"
            + (f", {indicators.offline} of them a sensor that is offline (−1)" if indicators.offline else ""),
        )
        for record, indicators in zip(records, lot_indicators, strict=True)
        if indicators.set_aside
    ]


def _unknown_lots(counts: pd.DataFrame, lots: gpd.GeoDataFrame) -> list[Text]:
    strangers = sorted(set(counts["feature"]) - set(lots["id"]))
    if not strangers:
        return []
    named = "、".join(strangers[:5])
    return [
        Text(
            zh=f"{len(strangers)} 个有计数的停车场不在图层中，未计入：{named}",
            en=f"counts of {len(strangers)} car parks that aren't in the layer are left out: "
            + ", ".join(strangers[:5]),
        )
    ]


@dataclass(frozen=True)
class LotSeries:
    """Counts of one car park in the order of time; those that can't be are left out and counted."""

    time_ns: NDArray[np.int64]  # (n,) since 1970, UTC
    occupied: Float  # (n,) between 0 and spaces
    entered: Float | None  # (n,) since the count before; None: not counted
    spaces: float
    spaces_from: str
    set_aside: int = 0
    offline: int = 0  # of those set aside


def lot_series(counts: pd.DataFrame, spaces: float | None) -> LotSeries:
    """Return the counts of a car park.

    Args:
        counts: columns time (UTC), and occupied or free, and entered where it is counted; in the order of time.
        spaces: declared; None: the greatest number free or occupied that was seen stands in.

    """
    time_ns = counts["time"].to_numpy("datetime64[ns]").astype(np.int64)
    occupied, free, entered = (_column(counts, name) for name in ("occupied", "free", "entered"))
    offline = (free == OFFLINE) | (occupied == OFFLINE)
    negative = (free < 0) | (occupied < 0)
    both = np.where(negative, np.nan, occupied + free)
    seen = np.concatenate([both, np.where(free < 0, np.nan, free), np.where(occupied < 0, np.nan, occupied)])
    room = spaces or float(np.nanmax(seen, initial=0.0))
    from_free = np.where(np.isnan(occupied), room - free, occupied)
    counted = ~np.isnan(from_free)
    impossible = counted & (negative | (from_free < 0) | (from_free > room) | (free > room))
    usable = counted & ~impossible
    arrivals = entered[usable] if not np.isnan(entered).all() else None
    if arrivals is not None:
        arrivals = np.where(arrivals < 0, np.nan, arrivals)
    return LotSeries(
        time_ns[usable], from_free[usable], arrivals, room, DECLARED if spaces else GREATEST_FREE,
        int(impossible.sum()), int((impossible & offline).sum()),
    )  # fmt: skip


def _column(frame: pd.DataFrame, name: str) -> Float:
    if name not in frame:
        return np.full(len(frame), np.nan)
    values = np.asarray(frame[name].to_numpy(dtype=np.float64, na_value=np.nan))
    return np.where(np.isfinite(values), values, np.nan)


@dataclass(frozen=True)
class LotIndicators:
    """What a car park's counts say."""

    row: Mapping[str, Any]
    week: list[float | None]  # (168,) mean occupancy of each hour from Monday 0 h of the city's clock
    covered_s: float
    week_hours: float
    week_mean: float = float("nan")  # of the week's hours, each weighted by how long it was counted
    set_aside: int = 0
    offline: int = 0


def parking_indicators(series: LotSeries, max_gap_s: float, timezone: str) -> LotIndicators:
    """Return the indicators of one car park.

    A count holds until the next, at most `max_gap_s`; what lies beyond is a gap, in which nothing is assumed.
    """
    aside = {"set_aside": series.set_aside}
    if len(series.time_ns) == 0 or series.spaces <= 0:
        reason = unusable(series.set_aside, Text(zh="计数", en="counts"))
        shares = ("occupancy", "peak_occupancy", "peak_hour", "turnover_per_space_day", "vehicles", "covered")
        room: Any = series.spaces if series.spaces > 0 else reason
        row = {
            "spaces": room,
            "spaces_from": series.spaces_from,
            **dict.fromkeys(shares, reason),
            "week": None,
            **aside,
        }
        return LotIndicators(row, [], 0.0, 0.0, set_aside=series.set_aside, offline=series.offline)
    gap_ns = int(max_gap_s * 1e9)
    steps = np.diff(series.time_ns)
    usual = int(np.median(steps)) if len(steps) else gap_ns
    duration_ns = np.minimum(np.append(steps, usual), gap_ns)
    share = series.occupied / series.spaces
    profile = _week(series.time_ns, duration_ns, share, timezone)
    joined = np.append(False, steps <= gap_ns)  # counts that follow another without a gap
    if series.entered is not None:
        vehicles, basis = series.occupied[0] + np.nansum(series.entered[1:]), ENTRIES
    else:
        rises = np.maximum(np.diff(series.occupied, prepend=series.occupied[0]), 0)
        vehicles, basis = series.occupied[0] + rises[joined].sum(), NET_CHANGES
    covered_s = float(duration_ns.sum()) / 1e9
    days = covered_s / 86_400
    span = float(series.time_ns[-1] - series.time_ns[0] + duration_ns[-1]) / 1e9
    row = {
        "spaces": series.spaces,
        "spaces_from": series.spaces_from,
        "occupancy": float((share * duration_ns).sum() / duration_ns.sum()),
        "peak_occupancy": float(share.max()),
        "peak_hour": _peak_hour(profile.means),
        "turnover_per_space_day": float(vehicles / series.spaces / days) if days else None,
        "turnover_from": basis,
        "vehicles": float(vehicles),
        "covered": covered_s / span if span else 1.0,
        "week": profile.means,
        **aside,
    }
    hours = profile.hours.sum()
    mean = float(profile.sums.sum() / hours) if hours else float("nan")
    return LotIndicators(row, profile.means, covered_s, float(hours), mean, series.set_aside, series.offline)


def _peak_hour(means: Sequence[float | None]) -> str | Unknown:
    """Return the hour of the week with the highest mean; of less than a day of hours none is the peak."""
    counted_hours = [(mean, hour) for hour, mean in enumerate(means) if mean is not None]
    if len(counted_hours) < LEAST_HOURS:
        return too_few(
            len(counted_hours), LEAST_HOURS, Text(zh="一周中有计数的小时", en="hours of the week with counts")
        )
    _, hour = max(counted_hours, key=lambda pair: (pair[0], -pair[1]))
    return f"{WEEKDAYS[hour // 24][1].en} {hour % 24:02d}:00"


@dataclass(frozen=True)
class Profile:
    """Of each hour of the week (168,): how long it was counted (h), the sum of share × time, and the mean."""

    hours: Float
    sums: Float

    @property
    def means(self) -> list[float | None]:
        """The mean share of each hour; None where nothing was counted."""
        return [float(s / h) if h > 0 else None for s, h in zip(self.sums, self.hours, strict=True)]


def _week(time_ns: NDArray[np.int64], duration_ns: NDArray[np.int64], share: Float, timezone: str) -> Profile:
    """Return the profile of the week; spans of time are cut at the hours of the city's clock."""
    local = pd.DatetimeIndex(pd.to_datetime(time_ns, utc=True)).tz_convert(timezone).tz_localize(None)
    start = local.to_numpy("datetime64[ns]").astype(np.int64)
    monday = int(np.datetime64("1970-01-05", "ns").astype(np.int64))
    parts = (start % NS_PER_HOUR + duration_ns - 1) // NS_PER_HOUR + 1  # hours that a span touches
    row = np.repeat(np.arange(len(duration_ns)), parts)
    nth = np.arange(len(row)) - np.repeat(np.cumsum(parts) - parts, parts)
    hour_start = (start[row] // NS_PER_HOUR + nth) * NS_PER_HOUR
    low = np.maximum(start[row], hour_start)
    high = np.minimum(start[row] + duration_ns[row], hour_start + NS_PER_HOUR)
    weight = (high - low) / NS_PER_HOUR
    hour = ((hour_start - monday) // NS_PER_HOUR) % HOURS_A_WEEK
    hours = np.bincount(hour, weight, minlength=HOURS_A_WEEK)
    return Profile(
        hours.astype(np.float64), np.bincount(hour, weight * share[row], minlength=HOURS_A_WEEK).astype(np.float64)
    )


@dataclass(frozen=True)
class Sessions:
    """Sessions that can be counted (n,), and why others can't: reason → how many."""

    lot: NDArray[np.object_]
    enter_ns: NDArray[np.int64]
    leave_ns: NDArray[np.int64]
    set_aside: Mapping[str, int]


def usable_sessions(rows: pd.DataFrame, lots: Sequence[str], timezone: str) -> Sessions:
    """Return the sessions that have a readable `enter`, a `leave` that is none or later, and a lot that is known.

    Args:
        rows: columns enter and leave (ISO 8601), and lot where there are several car parks.
        lots: ids of the car parks; where there are none, any lot is taken.
        timezone: by whose clock a time without an offset is meant.

    """
    enter, leave = (_moments(rows[n], timezone) for n in ("enter", "leave"))
    lot = rows["lot"].astype(object) if "lot" in rows else pd.Series([None] * len(rows), dtype=object)
    open_end = rows["leave"].isna() | (rows["leave"].astype(str).str.strip() == "")
    unknown_lot = lot.notna() & ~lot.isin(list(lots)) if len(lots) else pd.Series(False, index=rows.index)
    reasons = {
        "enter can't be read": enter.isna(),
        "leave can't be read": leave.isna() & ~open_end,
        "leave before enter": leave < enter,
        "unknown lot": unknown_lot,
    }
    aside = pd.Series(False, index=rows.index)
    counted = {}
    for reason, fault in reasons.items():
        counted[reason] = int((fault & ~aside).sum())
        aside |= fault
    good = ~aside.to_numpy()
    left = np.where(leave.isna(), NEVER, leave.to_numpy("datetime64[ns]").astype(np.int64))
    return Sessions(
        lot.to_numpy(object)[good], enter.to_numpy("datetime64[ns]").astype(np.int64)[good], left[good],
        {reason: count for reason, count in counted.items() if count},
    )  # fmt: skip


_WITH_OFFSET = r"[T ].*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"  # ISO 8601, 4.3.13 and 5.4.2.1


def _moments(column: pd.Series, timezone: str) -> pd.Series:
    """Return the moments of ISO 8601 texts, UTC; of what can't be read NaT."""
    with_offset = column.astype(str).str.contains(_WITH_OFFSET, regex=True)
    without: pd.Series = pd.to_datetime(column.where(~with_offset), format="ISO8601", errors="coerce")
    first = np.ones(len(column), bool)  # of a time that the clock shows twice
    here = without.astype("datetime64[ns]").dt.tz_localize(timezone, ambiguous=first, nonexistent="shift_forward")
    moments: pd.Series = pd.to_datetime(column.where(with_offset), format="ISO8601", errors="coerce", utc=True)
    return moments.astype("datetime64[ns, UTC]").fillna(here.dt.tz_convert("UTC"))


_REASONS_ZH = {
    "enter can't be read": "驶入时间无法识别",
    "leave can't be read": "驶出时间无法识别",
    "leave before enter": "驶出早于驶入",
    "unknown lot": "停车场不在图层中",
}


def _of_sessions(asked: Parameters, lots: gpd.GeoDataFrame, layer: Layer, timezone: str) -> Result:
    rows = pd.DataFrame(asked.sessions)
    if not {"enter", "leave"} <= set(rows.columns):
        raise BadRequest(say("rows-enter-leave"))
    if asked.start is None or asked.end is None:
        raise BadRequest(say("sessions-need-start-end"))
    sessions = usable_sessions(rows, lots["id"].to_list(), timezone)
    span = {"start_ns": pd.Timestamp(asked.start).value, "end_ns": pd.Timestamp(asked.end).value}
    if span["end_ns"] <= span["start_ns"]:
        raise BadRequest(say("end-must-later-than-start"))
    declared, _ = numbers(lots, layer, "spaces")
    room_of = {identifier: float(room) for identifier, room in zip(lots["id"], declared, strict=True) if room > 0}
    groups: list[tuple[str, NDArray[np.bool_], float | None]] = []
    if asked.spaces is not None:
        groups.append(("sessions", np.ones(len(sessions.lot), bool), asked.spaces))
    else:
        names = sorted({str(name) for name in sessions.lot if name is not None})
        groups += [(name, sessions.lot == name, room_of.get(name)) for name in names]
    if not groups or all(room is None for _, _, room in groups):
        raise BadRequest(say("sessions-need-spaces"))
    shape_of = dict(zip(lots["id"], lots.geometry, strict=True))
    no_room = Unknown(Text(zh="未登记泊位数", en="its spaces aren't declared"))
    records, checks = [], []
    for name, of_lot, room in groups:
        indicators = session_indicators(
            sessions.enter_ns[of_lot], sessions.leave_ns[of_lot], spaces=room or np.nan, **span
        )
        values = {key: no_room if np.isnan(value) else value for key, value in indicators.items()}
        records.append({"id": name, "lot": name, **values, "spaces": room or no_room, "geometry": shape_of.get(name)})
        if room:
            checks.append(_room_check(indicators["parked_hours"], room, span["end_ns"] - span["start_ns"]))
    gdf = rows_of(records, ["id", *(column.name for column in SESSION_COLUMNS)], lots.crs)
    figures: dict[str, Any] = {"sessions_set_aside": sum(sessions.set_aside.values())}
    if len(records) == 1:
        figures |= {k: v for k, v in records[0].items() if k not in ("id", "lot", "geometry")}
    notes = [
        Text(zh=f"{count} 条停车记录未计入：{_REASONS_ZH[reason]}", en=f"{count} sessions aren't counted: {reason}")
        for reason, count in sessions.set_aside.items()
    ]
    return Result(gdf, all_of(checks), figures, notes=tuple(notes), drawn_by="utilisation")


def _room_check(parked_hours: float, spaces: float, period_ns: int) -> Check:
    capacity = spaces * period_ns / NS_PER_HOUR
    return Check(
        0 <= parked_hours <= capacity + 1e-9,
        Text(zh="停车时长不超过泊位数×期间", en="parked hours ≤ spaces × period"),
        {"parked_hours": parked_hours, "capacity_hours": capacity},
    )


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


ANALYSIS = Declaration(
    parameters=Parameters,
    columns=(*COLUMNS, *(c for c in SESSION_COLUMNS if c.name not in {column.name for column in COLUMNS})),
    figures=FIGURES,
    legend=Legend("occupancy"),
    plots=(Plot("week", Text(zh="一周占用率", en="The week"), WEEKDAYS),),
    example={},
    run=run,
)
