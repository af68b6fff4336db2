"""The report of a load: what was read, what became of each record, and why."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cim.loads.load import DatasetNote
from cim.loads.quality import findings_of
from cim.loads.quarantine import SetAside
from cim.messages import say

IDS_SHOWN = 20


def _untold(share: float, read: int) -> None:
    """Tell nobody: a function of its own, which goes to other processes."""


def _far(metres: float, area: str) -> str:
    return say("lies-outside", distance_m=metres, area=area)


@dataclass
class FileReport:
    """What became of one file; read = loaded + updated + unchanged + refused."""

    path: str
    layers: list[str] = field(default_factory=list)
    crs: str | None = None
    vertical_datum: str | None = None
    operation: str | None = None
    heights: str | None = None  # what was done to them
    extent: tuple[float, float, float, float] | None = None  # degrees
    read: int = 0
    loaded: int = 0
    updated: int = 0
    unchanged: int = 0
    ended: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    refused_ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    warned: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))  # what → ids
    outside: dict[str, float] = field(default_factory=dict)  # of what the file lies, and by how many metres
    error: str | None = None
    setting: str | None = None  # that gives what the error misses
    seconds: float = 0.0
    set_aside: list[SetAside] = field(default_factory=list)  # until they are kept in the store
    report_progress: Callable[[float, int], None] = _untold  # the share that is done, if known, and the records read
    source: int | None = None  # the row of cim.source that its versions name
    datasets: list[DatasetNote] = field(default_factory=list)  # that it is of

    def refuse(
        self,
        identifier: str,
        reason: str,
        *,
        layer: str | None = None,
        source: Mapping[str, Any] | None = None,
        wkb: bytes | None = None,
    ) -> None:
        """Count a record that is set aside, and keep what it says; `wkb` is in the city's CRS."""
        self.refused += 1
        self.reasons[reason] += 1
        self.refused_ids[reason].append(identifier)
        self.set_aside.append(SetAside(identifier, reason, layer, source, wkb))

    def warn(self, warning: str, identifiers: Iterable[str] = ()) -> None:
        """Note what was dropped, repaired, clipped or assumed, and on which records."""
        self.warned[warning] += list(identifiers)

    def lies_outside(self, distances: Mapping[str, float]) -> None:
        """Note what the file lies outside of, and by how many metres; the farthest of its parts tells."""
        for area, metres in distances.items():
            before = self.outside.get(area, 0.0)
            if metres > before:
                self.warned.pop(_far(before, area), None)
                self.warn(_far(metres, area))
                self.outside[area] = metres

    def absorb(self, other: "FileReport") -> None:
        """Take in what is reported of a part of the file's records."""
        self.read += other.read
        self.refused += other.refused
        self.reasons += other.reasons
        self.set_aside += other.set_aside
        for merged, others in ((self.refused_ids, other.refused_ids), (self.warned, other.warned)):
            for sentence, ids in others.items():
                merged[sentence] += ids
        for area, metres in other.outside.items():
            del self.warned[_far(metres, area)]
        for area, metres in self.outside.items():
            self.warn(_far(metres, area))
        self.lies_outside(other.outside)
        if other.extent:
            self.widen(*other.extent)
        for name in ("crs", "vertical_datum", "operation", "heights"):
            setattr(self, name, getattr(other, name) or getattr(self, name))

    def widen(self, west: float, south: float, east: float, north: float) -> None:
        """Grow the extent by a box in degrees."""
        w, s, e, n = self.extent or (west, south, east, north)
        self.extent = (min(w, west), min(s, south), max(e, east), max(n, north))

    def as_json(self) -> dict[str, Any]:
        """Return the file's part of the JSON report, in the shape of the contract."""
        warnings = [
            {"warning": warning, "count": len(ids) or 1, "ids": ids[:IDS_SHOWN]} for warning, ids in self.warned.items()
        ]
        reasons = dict(self.reasons)
        refused = {reason: ids[:IDS_SHOWN] for reason, ids in self.refused_ids.items()}
        shown = ("path", "layers", "crs", "vertical_datum", "operation", "heights", "extent", "read", "loaded")
        counted: dict[str, Any] = {name: getattr(self, name) for name in shown}
        return counted | {
            "updated": self.updated,
            "unchanged": self.unchanged,
            "ended": self.ended,
            "refused": self.refused,
            "warnings": warnings,
            "reasons": reasons,
            "refused_ids": refused,
            "error": self.error,
            "setting": self.setting,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class LoadReport:
    """The report of one call of `cim ingest`."""

    files: list[FileReport] = field(default_factory=list)
    load: int | None = None
    quality: dict[str, Any] | None = None  # `cim.loads.load.quality.examine`, once it was looked at

    @property
    def layers(self) -> list[str]:
        """The layers that something came to."""
        return [layer for file in self.files for layer in file.layers]

    @property
    def exit_code(self) -> int:
        """0 all in; 1 nothing was done; 3 something was loaded, but some records or files were refused."""
        refused = any(f.refused or f.error for f in self.files)
        entered = any(f.loaded or f.updated or f.unchanged or f.ended for f in self.files)
        if not entered:
            return 1
        return 3 if refused else 0

    def as_json(self) -> dict[str, Any]:
        """Return the JSON report of the contract."""
        report: dict[str, Any] = {"files": [f.as_json() for f in self.files], "load": self.load}
        if self.quality:
            report["findings"] = findings_of(self.quality)
        return report

    def summary(self, how_to_give: Callable[[str | None], str] = lambda _: "") -> str:
        """Return what a person reads after a load; `how_to_give` says of a setting how it is given where one reads."""
        lines = []
        for file in self.files:
            counts = f"{file.read} read, {file.loaded} loaded, {file.updated} updated, {file.unchanged} unchanged"
            ended = f", {file.ended} ended" if file.ended else ""
            lines.append(f"{file.path} → {', '.join(file.layers) or '—'}: {counts}{ended}, {file.refused} refused")
            if file.error:
                lines.append(f"  error: {file.error}{how_to_give(file.setting)}")
            for reason, count in file.reasons.most_common():
                shown = ", ".join(file.refused_ids[reason][:5])
                lines.append(f"  refused {count}: {reason} ({shown}{', …' if count > 5 else ''})")
            for warning, ids in file.warned.items():
                names = f" ({', '.join(ids[:5])}{', …' if len(ids) > 5 else ''})" if ids else ""
                lines.append(f"  warning{f' on {len(ids)}' if ids else ''}: {warning}{names}")
        lines += [f"  {finding}" for finding in (findings_of(self.quality) if self.quality else [])]
        return "\n".join(lines)
