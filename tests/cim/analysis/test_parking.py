"""Parking indicators against minute-by-minute pandas, on the sample and on Málaga's car parks with their gaps."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim.analysis.engine.run import analyse
from cim.analysis.engine.unknown import Unknown
from cim.analysis.parking.indicators import (
    ENTRIES,
    GREATEST_FREE,
    NET_CHANGES,
    lot_series,
    parking_indicators,
    session_indicators,
    usable_sessions,
)
from tests.conftest import Served

HOUR = 3_600_000_000_000


def by_minute(times: pd.DatetimeIndex, share: np.ndarray, max_gap_min: int) -> pd.Series:
    """The share of each minute: a count holds until the next, at most the longest gap, the last one a usual step."""
    usual = int(np.median(np.diff(times.as_unit("ns").asi8))) // 60_000_000_000
    minutes: dict[pd.Timestamp, float] = {}
    for k, moment in enumerate(times):
        until = times[k + 1] if k + 1 < len(times) else moment + pd.Timedelta(minutes=usual)
        length = min(int((until - moment).total_seconds() // 60), max_gap_min)
        for minute in range(length):
            minutes[moment + pd.Timedelta(minutes=minute)] = float(share[k])
    return pd.Series(minutes)


@pytest.mark.parametrize("lot", ["AL", "CE", "PA"])
def test_a_malaga_car_park_of_31690_rows_with_gaps_is_what_pandas_gives_by_the_minute(
    shared_data: Path, lot: str
) -> None:
    table = pd.read_csv(shared_data / "parking_malaga/malaga_2024-03.csv")
    own = table[table["id"] == lot].sort_values("ts")
    times = pd.DatetimeIndex(pd.to_datetime(own["ts"])).tz_localize(
        "Europe/Madrid", ambiguous="NaT", nonexistent="shift_forward"
    )
    keep = ~times.duplicated()
    times, free = times[keep], own["libres"].to_numpy(float)[keep]
    series = lot_series(pd.DataFrame({"time": times.tz_convert("UTC").tz_localize(None), "free": free}), None)
    found = parking_indicators(series, 30 * 60, "Europe/Madrid")
    room = free.max()
    assert (found.row["spaces"], found.row["spaces_from"]) == (room, GREATEST_FREE)
    share = (room - free) / room
    minutes = by_minute(times, share, 30)
    assert found.covered_s == len(minutes) * 60
    assert found.row["covered"] < 1.0  # there are gaps
    assert found.row["occupancy"] == pytest.approx(minutes.mean())
    local = minutes.index.tz_convert("Europe/Madrid")
    week = minutes.groupby(local.day_of_week * 24 + local.hour).mean()
    assert found.week == pytest.approx([week.get(h, np.nan) for h in range(168)], nan_ok=True)
    steps = np.diff(times.as_unit("ns").asi8)
    rises = np.maximum(np.diff(room - free), 0)[steps <= 30 * 60 * 10**9].sum()
    assert found.row["turnover_from"] == NET_CHANGES
    assert found.row["turnover_per_space_day"] == pytest.approx((room - free[0] + rises) / room / (len(minutes) / 1440))


def test_the_samples_week_is_what_pandas_gives_from_the_csv(sample_city: Served) -> None:
    with sample_city.store.connect() as connection, connection.cursor() as cursor:
        result = analyse(cursor, sample_city.store, "parking_indicators", {})
    source = pd.read_csv(sample_city.folder / "parking_observation.csv")
    assert len(result.gdf) == source["停车场"].nunique() == 14
    for row in result.gdf.itertuples():
        own = source[source["停车场"] == row.id]
        times = pd.DatetimeIndex(pd.to_datetime(own["时间"]))
        minutes = by_minute(times, own["占用泊位"].to_numpy(float) / row.spaces, 60)
        vehicles = own["占用泊位"].iloc[0] + own["驶入"].iloc[1:].sum()
        assert row.occupancy == pytest.approx(minutes.mean())
        assert row.turnover_from == ENTRIES
        assert row.turnover_per_space_day == pytest.approx(vehicles / row.spaces / (len(minutes) / 1440))
        assert row.peak_occupancy == pytest.approx((own["占用泊位"] / row.spaces).max())
    assert result.check.passed
    failed = result.gdf.set_index("id").loc["P04"]
    assert failed["covered"] < 1.0
    assert (result.gdf.set_index("id").drop("P04")["covered"] == 1.0).all()


def test_a_period_is_cut_out(sample_city: Served) -> None:
    asked = {"start": "2024-05-07T00:00:00+08:00", "end": "2024-05-08T00:00:00+08:00"}
    with sample_city.store.connect() as connection, connection.cursor() as cursor:
        result = analyse(cursor, sample_city.store, "parking_indicators", asked)
    assert result.check.quantities["covered_hours"] == 14 * 24
    assert [h for h, v in enumerate(result.gdf["week"].iloc[0]) if v is not None] == list(range(24, 48))


def test_sessions_over_the_edges_of_the_period() -> None:
    enter = np.array([-5, 2, 23, 30], np.int64) * HOUR
    leave = np.array([1, 4, np.iinfo(np.int64).max // HOUR, 40], np.int64) * HOUR
    found = session_indicators(enter, leave, spaces=2, start_ns=0, end_ns=24 * HOUR)
    assert found["vehicles"] == 3
    assert found["entered"] == 2
    assert found["parked_hours"] == pytest.approx(1 + 2 + 1)
    assert found["utilisation"] == pytest.approx(4 / 48)
    assert found["turnover_per_space_day"] == pytest.approx(1.5)


def test_one_count_and_no_count() -> None:
    one = lot_series(pd.DataFrame({"time": pd.to_datetime(["2024-05-06T03:20"]), "occupied": [3.0]}), 6.0)
    found = parking_indicators(one, 3600, "Asia/Shanghai")
    assert found.row["occupancy"] == 0.5
    assert found.covered_s == 3600
    none = lot_series(pd.DataFrame({"time": pd.to_datetime([]), "occupied": np.array([], float)}), 6.0)
    assert parking_indicators(none, 3600, "Asia/Shanghai").covered_s == 0


VALUES = st.floats(-20, 400) | st.sampled_from([float("nan"), float("inf"), float("-inf"), -1.0])
COUNTS = st.lists(st.tuples(st.sampled_from(["free", "occupied"]), VALUES), min_size=1, max_size=40)


@given(COUNTS, st.integers(1, 300) | st.none())
def test_whatever_is_counted_no_share_leaves_its_range(counts: list[tuple[str, float]], spaces: int | None) -> None:
    """A count that can't be enters no figure: shares stay between 0 and 1, and what was left out is counted."""
    times = pd.date_range("2024-05-06", periods=len(counts), freq="20min")
    frame = pd.DataFrame({"time": times, "free": np.nan, "occupied": np.nan})
    for k, (column, value) in enumerate(counts):
        frame.loc[k, column] = value
    series = lot_series(frame, float(spaces) if spaces else None)
    told = int((np.isfinite(frame["free"]) | np.isfinite(frame["occupied"])).sum())
    assert len(series.time_ns) + series.set_aside == told
    found = parking_indicators(series, 3600, "Asia/Shanghai")
    shares = [found.row["occupancy"], found.row["peak_occupancy"], *(found.week or [])]
    for share in shares:
        assert isinstance(share, Unknown) or share is None or 0.0 <= share <= 1.0
    if not len(series.time_ns):
        assert isinstance(found.row["occupancy"], Unknown)


@pytest.mark.parametrize(
    ("free", "spaces", "offline"), [(8259.0, 140.0, 0), (-1.0, 60.0, 1), (2.0, 1.0, 0), (-58.0, 60.0, 0)]
)
def test_an_impossible_count_is_set_aside_and_a_sensor_offline_is_told(
    free: float, spaces: float, offline: int
) -> None:
    frame = pd.DataFrame({"time": pd.to_datetime(["2024-05-06T00:00", "2024-05-06T01:00"]), "free": [free, 0.0]})
    series = lot_series(frame, spaces)
    assert (series.set_aside, series.offline) == (1, offline)
    assert series.occupied.tolist() == [spaces]


def test_the_peak_hour_is_the_hour_with_the_highest_mean_not_that_of_one_count() -> None:
    times = pd.date_range("2024-05-06", periods=14 * 24, freq="h", tz="Asia/Shanghai")
    occupied = np.where(times.hour == 10, 80.0, 20.0)
    occupied[times.hour == 3] = 10.0
    occupied[(times.hour == 3).nonzero()[0][0]] = 100.0  # one night of one week
    frame = pd.DataFrame({"time": times.tz_convert("UTC").tz_localize(None), "occupied": occupied})
    found = parking_indicators(lot_series(frame, 100.0), 3600, "Asia/Shanghai")
    assert found.row["peak_hour"].endswith("10:00")
    assert found.row["peak_occupancy"] == 1.0
    few = parking_indicators(lot_series(frame.iloc[:5], 100.0), 3600, "Asia/Shanghai")
    assert isinstance(few.row["peak_hour"], Unknown)


GOOD = {"lot": "P1", "enter": "2024-05-06T08:00:00+08:00", "leave": "2024-05-06T10:00:00+08:00"}
FAULTS = {
    "enter can't be read": {"enter": "yesterday"},
    "leave can't be read": {"leave": "soon"},
    "leave before enter": {"leave": "2024-05-06T07:00:00+08:00"},
    "unknown lot": {"lot": "P9"},
}


@given(st.lists(st.sampled_from([None, *FAULTS]), min_size=1, max_size=30))
def test_sessions_that_cant_be_give_no_hours_and_are_counted_by_reason(kinds: list[str | None]) -> None:
    rows = pd.DataFrame([GOOD | (FAULTS[kind] if kind else {}) for kind in kinds])
    sessions = usable_sessions(rows, ["P1", "P2"], "Asia/Shanghai")
    assert len(sessions.lot) == kinds.count(None)
    assert dict(sessions.set_aside) == {kind: kinds.count(kind) for kind in FAULTS if kind in kinds}
    day = {
        "start_ns": pd.Timestamp("2024-05-06T00:00+08:00").value,
        "end_ns": pd.Timestamp("2024-05-07T00:00+08:00").value,
    }
    found = session_indicators(sessions.enter_ns, sessions.leave_ns, spaces=1000.0, **day)
    assert found["parked_hours"] == pytest.approx(2.0 * kinds.count(None))


def test_an_open_end_is_no_fault_and_without_lots_any_lot_is_taken() -> None:
    rows = pd.DataFrame([GOOD | {"leave": None}, GOOD | {"leave": ""}, GOOD | {"lot": "anywhere"}])
    assert len(usable_sessions(rows, [], "Asia/Shanghai").lot) == 3
    assert usable_sessions(rows, [], "Asia/Shanghai").set_aside == {}
