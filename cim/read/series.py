"""Series of a feature: what an observation layer holds of it, as it came or by period of the city's clock."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cim.catalog.model import Layer
from cim.clock import Clock
from cim.errors import BadRequest
from cim.messages import say
from cim.store.connection import Cursor
from cim.store.schema import table

CALENDAR = ("hour", "day", "week", "month")
_MINUTES = re.compile(r"^(\d{1,4}) ?min$")
MOST_MOMENTS = 200_000


@dataclass(frozen=True)
class Series:
    """Values of one feature: moments (n), and per field its mean, least and greatest of each period (n) each."""

    feature: str
    period: str  # raw, N min, hour, day, week, month
    times: list[datetime]
    counts: list[int]  # values in each period
    mean: dict[str, list[float | None]]
    least: dict[str, list[float | None]]
    greatest: dict[str, list[float | None]]

    def as_json(self) -> dict[str, Any]:
        """Return the series as JSON."""
        values = {
            name: {"mean": self.mean[name], "min": self.least[name], "max": self.greatest[name]} for name in self.mean
        }
        times = [moment.isoformat() for moment in self.times]
        return {"feature": self.feature, "period": self.period, "times": times, "counts": self.counts, "values": values}


def series(
    cursor: Cursor,
    layer: Layer,
    feature: str,
    span: tuple[datetime | None, datetime | None] = (None, None),
    *,
    period: str = "raw",
    clock: Clock,
) -> Series:
    """Return the values of a feature between two moments (from inclusive, until exclusive).

    Args:
        cursor: a read.
        layer: an observation layer.
        feature: id of the observed feature.
        span: from, until; None: open.
        period: raw, `15 min`, hour, day, week or month; a period begins where the city's clock says so.
        clock: the city's.

    Raises:
        BadRequest: no such period.

    """
    start = _period_start(period)
    numbers = [f.name for f in layer.fields if f.type in ("integer", "number")]
    parts = "".join(f', avg("{n}")::float8, min("{n}")::float8, max("{n}")::float8' for n in numbers)
    cursor.execute(
        f"""SELECT {start} AS start, count(*){parts} FROM {table(layer)} v
            WHERE feature = %(feature)s AND upper_inf(recorded)
              AND time >= coalesce(%(from)s::timestamptz, '-infinity')
              AND time < coalesce(%(until)s::timestamptz, 'infinity')
            GROUP BY 1 ORDER BY 1 LIMIT {MOST_MOMENTS}""",
        {"feature": feature, "from": span[0], "until": span[1], "zone": clock.timezone, "minutes": _minutes(period)},
    )
    rows: Sequence[Sequence[Any]] = cursor.fetchall()
    columns = list(zip(*rows, strict=True)) if rows else [()] * (2 + 3 * len(numbers))

    def per_field(shift: int) -> dict[str, list[float | None]]:
        return {name: list(columns[2 + 3 * k + shift]) for k, name in enumerate(numbers)}

    return Series(feature, period, list(columns[0]), list(columns[1]), per_field(0), per_field(1), per_field(2))


def _period_start(period: str) -> str:
    if period == "raw":
        return "time"
    if period in CALENDAR:
        return f"date_trunc('{period}', time, %(zone)s)"
    if _minutes(period):
        return (
            "date_bin(make_interval(mins => %(minutes)s), time, date_trunc('day', timestamptz '2000-01-01', %(zone)s))"
        )
    raise BadRequest(say("no-such-period", period=period, calendar=", ".join(CALENDAR)))


def _minutes(period: str) -> int | None:
    match = _MINUTES.match(period)
    return int(match[1]) or None if match else None
