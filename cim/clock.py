"""The city's clock: when its days begin, and which moment a time without an offset means."""

from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cached_property
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Clock:
    """The clock of a time zone; moments that it gives have an offset."""

    timezone: str  # of the IANA database, such as Asia/Shanghai

    @cached_property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return ZoneInfo(self.timezone)

    def meant(self, moment: datetime) -> datetime:
        """Return a moment with its offset: one without is by this clock.

        A time that the clock shows twice is the first of them; one that it skips is as far after the moment of the
        skip as it would have been (PEP 495, fold 0).
        """
        return moment if moment.tzinfo else moment.replace(tzinfo=self.zone)

    def begins(self, day: date) -> datetime:
        """Return the first moment of a day: midnight, or where the clock skips that, the moment of the skip."""
        return datetime.combine(day, time.min, self.zone)

    def day(self, moment: datetime) -> date:
        """Return the day in which a moment lies."""
        return self.meant(moment).astimezone(self.zone).date()

    def read(self, text: str) -> datetime:
        """Return the moment of an ISO 8601 text: a date is its first moment.

        Raises:
            ValueError: it is neither a date nor a time.

        """
        return self.meant(datetime.fromisoformat(text))

    def shown(self, moment: datetime) -> str:
        """Return a moment as a person reads it: day, hour and minute."""
        return f"{self.meant(moment).astimezone(self.zone):%Y-%m-%d %H:%M}"
