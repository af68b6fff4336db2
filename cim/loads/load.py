"""Loads: the one way to begin one; what came in when, from which files, and who brought it.

Whoever writes into a layer holds it until the transaction has ended, so that loads into different layers, and edits
beside them, don't wait for each other. All layers of a load are taken before anything else, in one order, so that no
two loads ever wait for each other; and before its transaction begins, so that its moment follows all that others wrote
into them (`cim.loads.undo` finds a load by its moment).
"""

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from cim.access.asker import COMMAND_LINE, Asker
from cim.access.audit import note, system_user
from cim.catalog.model import Catalog
from cim.clock import Clock
from cim.errors import LayerBusy
from cim.messages import keep, say
from cim.store.binary_copy import json_text
from cim.store.connection import Cursor, LockNotAvailable, Store, in_transaction

LOCK_SPACE = 1_668_441_675  # any number that nothing else in the database uses: the locks in it are layers'


@dataclass(frozen=True)
class DatasetNote:
    """What a delivery into a layer says of its dataset."""

    name: str
    layer: str
    surveyed: date | None = None
    licence: str | None = None
    source: str | None = None


@dataclass
class Load:
    """A load under way. What is said of it here is written when it ends."""

    number: int
    action: str  # as the audit calls it
    layers: frozenset[str]  # that it holds
    report: Mapping[str, Any] | None = None
    layer: str | None = None  # of the one object that it was about
    identifier: str | None = None  # of that object
    detail: Mapping[str, Any] = field(default_factory=dict)
    datasets: list[DatasetNote] = field(default_factory=list)
    given_up: bool = False

    def give_up(self) -> None:
        """Let nothing of it stay."""
        self.given_up = True


@contextmanager
def load(
    cursor: Cursor,
    asker: Asker,
    action: str,
    layers: Iterable[str],
    *,
    wait_s: float | None = None,
    of: int | None = None,
) -> Iterator[Load]:
    """Run a load: hold its layers, begin its transaction, and at its end write its report and its audit row.

    The caller commits, and lets the connection go: with it the layers.

    Args:
        cursor: of a connection that is in no transaction.
        asker: on whose behalf.
        action: as the audit calls it: load, undo, reconstruct …
        layers: ids of all layers that it may write into.
        wait_s: how long it waits for each of them; None: as long as it takes.
        of: the number of an earlier load that is acted upon; None: it is a load of its own.

    Raises:
        LayerBusy: another load holds one of the layers for longer than that.

    """
    layer_ids = frozenset(layers)
    _hold(cursor, layer_ids, wait_s)
    work = Load(_begun(cursor, asker) if of is None else of, action, layer_ids)
    yield work
    if work.given_up:
        cursor.connection.rollback()
        return
    _note_datasets(cursor, work.number, work.datasets)
    if work.report is not None:
        text = json_text(keep(work.report))
        cursor.execute("UPDATE cim.load SET report = %s::jsonb WHERE load = %s", [text, work.number])
    note(
        cursor, work.action, asker=asker, layer=work.layer, identifier=work.identifier, load=work.number,
        detail=work.detail,
    )  # fmt: skip


def _hold(cursor: Cursor, layers: frozenset[str], wait_s: float | None) -> None:
    """Take the locks of layers, in one order, for as long as the connection lives or until its next load."""
    connection = cursor.connection
    if in_transaction(connection):
        raise RuntimeError("a load begins before anything else in its transaction")
    cursor.execute("SELECT pg_advisory_unlock_all()")  # of a load before, which has ended
    wait_at_most(cursor, wait_s)
    for layer in sorted(layers, key=lock_key):
        try:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_SPACE, lock_key(layer)])
        except LockNotAvailable as fault:
            connection.rollback()
            cursor.execute("SELECT pg_advisory_unlock_all()")
            raise LayerBusy(say("another-load-writing-into", layer=layer)) from fault
    connection.commit()


def wait_at_most(cursor: Cursor, seconds: float | None) -> None:
    """Let no statement of the transaction wait longer than that for what another holds; None: as long as it takes."""
    if seconds is not None:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{max(1, round(1000 * seconds))}ms"])


def lock_key(layer: str) -> int:
    """Return the number of a layer's lock in its space."""
    return zlib.crc32(layer.encode()) - 2**31


def _begun(cursor: Cursor, asker: Asker) -> int:
    operator = asker.name if asker != COMMAND_LINE else system_user()
    row = cursor.execute("INSERT INTO cim.load (operator) VALUES (%s) RETURNING load", [operator]).fetchone()
    return int(row[0]) if row else 0


def _note_datasets(cursor: Cursor, load: int, notes: Iterable[DatasetNote]) -> None:
    """Note datasets, at the very end and in one order: loads into different layers may be of the same ones."""
    for dataset in sorted(dict.fromkeys(notes), key=lambda dataset: dataset.name):
        cursor.execute(
            """INSERT INTO cim.dataset (name, licence, source) VALUES (%s, %s, %s) ON CONFLICT (name) DO UPDATE
               SET licence = coalesce(excluded.licence, dataset.licence),
                   source = coalesce(excluded.source, dataset.source)""",
            [dataset.name, dataset.licence, dataset.source],
        )
        if dataset.surveyed:  # of several files of a load, the newest
            cursor.execute(
                """INSERT INTO cim.survey VALUES (%s, %s, %s, %s) ON CONFLICT (load, layer, dataset) DO UPDATE
                   SET surveyed = greatest(survey.surveyed, excluded.surveyed)""",
                [load, dataset.layer, dataset.name, dataset.surveyed],
            )


def note_source(cursor: Cursor, load: int, path: Path, shown: str, name: str | None = None) -> int:
    """Note a file that a load reads, or a table of it; return the number by which its versions name it.

    Args:
        cursor: in the load's transaction.
        load: its number.
        path: the file.
        shown: what the file is called: in an archive, say, by the archive's path and its own.
        name: of the table, where the file has several.

    """
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    row = cursor.execute(
        "INSERT INTO cim.source (load, path, name, sha256, bytes) VALUES (%s, %s, %s, %s, %s) RETURNING source",
        [load, shown, name, sha256, path.stat().st_size],
    ).fetchone()
    return int(row[0]) if row else 0


@dataclass(frozen=True)
class NotedLoad:
    """A load as it is noted: when it began, on whose behalf, what it reported, when and by whom it was taken back."""

    number: int
    started: datetime
    operator: str | None
    report: Mapping[str, Any]
    undone: datetime | None = None
    undone_by: str | None = None

    def layers(self, catalog: Catalog) -> set[str]:
        """Return the ids of the layers that it brought something to; without a report that may be any."""
        if not self.report:
            return set(catalog.layers)
        edited = {self.report["layer"]} if "layer" in self.report else set()
        return {layer for file in self.report.get("files", []) for layer in file["layers"]} | edited

    def line(self, clock: Clock) -> str:
        """Return what a list says of it, by the city's clock."""
        entry = f"{self.number}  {clock.shown(self.started)}  {self.operator or '—'}  {self._what()}"
        by = f" by {self.undone_by}" if self.undone_by else ""
        return f"{entry}  (taken back {clock.shown(self.undone)}{by})" if self.undone else entry

    def _what(self) -> str:
        if edited := self.report.get("edit"):
            return f"{edited} {self.report['layer']} {self.report['id']}"
        files = self.report.get("files", [])
        layers = ", ".join(sorted({layer for file in files for layer in file["layers"]}))
        kinds = ("loaded", "updated", "unchanged", "refused")
        total = {kind: sum(file[kind] for file in files) for kind in kinds}
        counts = ", ".join(f"{count} {kind}" for kind, count in total.items())
        return f"{len(files)} files → {layers}: {counts}"


_NOTED = """SELECT l.load, l.started, l.operator, coalesce(l.report, '{}'), l.undone, (
                SELECT coalesce(a.account, a.detail->>'system_user') FROM cim.audit a
                WHERE a.action = 'undo' AND a.load = l.load ORDER BY a.seq DESC LIMIT 1)
            FROM cim.load l"""


def read_load(cursor: Cursor, load: int) -> NotedLoad | None:
    """Return a load, or None if there is none of that number."""
    row = cursor.execute(f"{_NOTED} WHERE l.load = %s", [load]).fetchone()
    return NotedLoad(*row) if row else None


def list_loads(store: Store) -> Iterator[str]:
    """Yield a line on each load, edits among them, the newest first."""
    with store.connect() as connection:
        rows = connection.execute(f"{_NOTED} ORDER BY l.started DESC, l.load DESC").fetchall()
    yield from (NotedLoad(*row).line(store.city.clock) for row in rows)
