"""What a run of a tiler did, and the stretches of city time it did it for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

Progress = Callable[[int, int], None]
Interval = tuple[datetime | None, datetime | None]  # from, until; None: open


@dataclass
class Outcome:
    """What a run did for a layer."""

    layer: str
    tiles: int = 0
    built: int = 0
    written_files: int = 0
    roots: dict[Interval, str] = field(default_factory=dict)
