"""Days are the city's: they begin by its clock at every door, in a city with summer time as in one without."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cim.analysis.engine.parameters import Parameters
from cim.analysis.engine.run import dated
from cim.analysis.parking.indicators import usable_sessions
from cim.catalog.model import Layer
from cim.catalog.read import read_catalog
from cim.city import YANGQUAN, City
from cim.clock import Clock
from cim.read.filters import parse_filter
from cim.read.series import series
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from services.http.ask import moment
from services.ogc.provider import _times
from tests.conftest import MakeStore

ZURICH = YANGQUAN.model_copy(update={"name": "Zürich", "timezone": "Europe/Zurich"})  # only its clock matters here
CITIES = {"Asia/Shanghai": YANGQUAN, "Europe/Zurich": ZURICH}
# day → its first moment, by the almanac: UTC+8 all year; UTC+1, and +2 from 2024-03-31 01:00Z to 2024-10-27 01:00Z
FIRST_MOMENTS = [
    ("Asia/Shanghai", "2024-05-01", "2024-04-30T16:00:00+00:00"),
    ("Asia/Shanghai", "2024-01-01", "2023-12-31T16:00:00+00:00"),
    ("Europe/Zurich", "2024-01-01", "2023-12-31T23:00:00+00:00"),
    ("Europe/Zurich", "2024-03-31", "2024-03-30T23:00:00+00:00"),
    ("Europe/Zurich", "2024-04-01", "2024-03-31T22:00:00+00:00"),
    ("Europe/Zurich", "2024-10-27", "2024-10-26T22:00:00+00:00"),
    ("Europe/Zurich", "2024-10-28", "2024-10-27T23:00:00+00:00"),
]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(("zone", "day", "first"), FIRST_MOMENTS)
def test_a_day_begins_by_the_citys_clock_at_every_door_that_reads_one(zone: str, day: str, first: str) -> None:
    city, clock, began = CITIES[zone], Clock(zone), utc(first)
    assert clock.begins(date.fromisoformat(day)) == began
    assert moment(day, clock) == moment(f"{day}T00:00:00", clock) == began
    assert _times(f"{day}/..", clock) == (began, None)
    assert _times(f"{day}T00:00:00", clock) == began
    assert dated(Parameters.model_validate({"at": day}), city, datetime.now(UTC)).at == began
    assert clock.day(began) == date.fromisoformat(day)
    assert clock.day(began - timedelta(microseconds=1)) == date.fromisoformat(day) - timedelta(days=1)


@given(st.sampled_from(sorted(available_timezones())), st.dates(date(1970, 1, 2), date(2037, 12, 30)))
def test_days_follow_each_other_without_gap_or_overlap(zone: str, day: date) -> None:
    clock = Clock(zone)
    first, following = clock.begins(day).astimezone(UTC), clock.begins(day + timedelta(days=1)).astimezone(UTC)
    if first == following:  # Samoa left out 2011-12-30, Kwajalein 1993-08-21
        return
    assert clock.day(first) == clock.day(following - timedelta(seconds=1)) == day
    assert clock.day(first - timedelta(seconds=1)) < day


def test_a_time_with_an_offset_is_nobody_elses() -> None:
    for zone in CITIES:
        assert moment("2024-05-01T00:00:00Z", Clock(zone)) == datetime(2024, 5, 1, tzinfo=UTC)


LITERALS = [
    "valid_from >= DATE('{day}')", "valid_from >= '{day}'", "valid_from >= '{day}T00:00:00'",
    '{{"op": ">=", "args": [{{"property": "valid_from"}}, {{"date": "{day}"}}]}}',
]  # fmt: skip


@pytest.mark.parametrize("literal", LITERALS)
@pytest.mark.parametrize(("zone", "day", "first"), FIRST_MOMENTS)
def test_a_filter_means_the_citys_days(layer: Layer, literal: str, zone: str, day: str, first: str) -> None:
    condition = parse_filter(literal.format(day=day), layer, lambda x, y: (x, y), CITIES[zone])
    assert list(condition.values.values()) == [utc(first)]


@pytest.fixture(scope="module")
def layer() -> Layer:
    return read_catalog().layer("hydrant")


@pytest.mark.parametrize("zone", CITIES)
def test_sessions_without_an_offset_are_by_the_citys_clock(zone: str) -> None:
    stay = {"enter": ["2024-05-06T08:00", "2024-05-06T08:00Z"], "leave": ["2024-05-06 09:00", "2024-05-06T11:00+02:00"]}
    sessions = usable_sessions(pd.DataFrame(stay), [], zone)
    eight = datetime(2024, 5, 6, 8, tzinfo=ZoneInfo(zone)).timestamp()
    assert sessions.enter_ns.tolist() == [eight * 1e9, datetime(2024, 5, 6, 8, tzinfo=UTC).timestamp() * 1e9]
    assert sessions.leave_ns.tolist() == [(eight + 3600) * 1e9, datetime(2024, 5, 6, 9, tzinfo=UTC).timestamp() * 1e9]


@pytest.mark.parametrize("zone", CITIES)
def test_what_is_delivered_is_of_the_citys_days(make_store: MakeStore, tmp_path: Path, zone: str) -> None:
    city: City = CITIES[zone]
    store, clock = make_store(city), Clock(zone)
    (tmp_path / "hydrant.csv").write_text("id,x,y\nA,113.58,37.86\n", "utf-8")
    (tmp_path / "event.csv").write_text("id,x,y,time\nE,113.58,37.86,2024-10-27T12:00:00\n", "utf-8")
    night = [f"2024-10-{day}T{hour:02d}:30:00" for day in (26, 27, 28) for hour in (0, 12, 23)]
    values = "".join(f"A,{time},1\n" for time in night)
    (tmp_path / "sensor_observation.csv").write_text(f"feature,time,value\n{values}", "utf-8")
    report = ingest(store, [tmp_path], Declared(date=date(2024, 10, 27), crs="EPSG:4326"))
    assert report.exit_code == 0, report.summary()
    with store.connect() as connection, connection.cursor() as cursor:
        began = cursor.execute("SELECT lower(valid) FROM twin.hydrant").fetchone()
        reported = cursor.execute("SELECT reported_at FROM twin.event").fetchone()
        daily = series(cursor, store.catalog.layer("sensor_observation"), "A", period="day", clock=clock)
    assert began == (clock.begins(date(2024, 10, 27)),)
    assert reported == (clock.meant(datetime(2024, 10, 27, 12)),)
    assert daily.times == [clock.begins(date(2024, 10, day)) for day in (26, 27, 28)]
    assert daily.counts == [3, 3, 3]
