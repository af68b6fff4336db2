"""The processes that work beside the server: for jobs of the queue, for changes and the tiles they reach, for feeds.

Each role is a process of the server's nursery.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cim.config import read_settings
from cim.errors import BadRequest, CimError, LayerBusy, NoDatabase
from cim.jobs import queue as jobs
from cim.jobs.queue import Job
from cim.messages import keep, say
from cim.store import outbox as changes
from cim.store.connection import (
    Connection,
    Cursor,
    LostConnection,
    Store,
    UnusableValue,
    connect,
    notifications,
    open_store,
    see_as,
)

if TYPE_CHECKING:
    from cim.catalog.model import Layer
    from tiles.tilers import Tiler

# what the roles need beside this module
IMPORTED = (
    "cim.analysis.engine.keep",
    "cim.analysis.engine.run",
    "cim.loads.undo",
    "ingest.load.edit",
    "ingest.sources.feeds",
    "ingest.sources.uploads",
    "scipy.sparse.csgraph",
    "tiles.tilers",
)
NICE = 5  # the server answers first
IDLE_S = 2.0  # how long a worker waits for an announcement before it looks again
PROGRESS_EVERY_S = 0.25
LONGEST_WAIT_S = 30.0
TIDIED_EVERY_S = 3600.0  # the store of results
BUSY_WAIT_S, BUSY_AGAIN_S = 0.5, 1.0  # how long a job waits for its layer, and for its next try
FEEDS_LOOKED_AT_S = 10.0  # a feed may be added to the file at any time


def main(role: str, since: changes.Place) -> None:
    """Run one of the processes until the server ends, which began when the city's changes had come to a place."""
    os.nice(NICE)
    with open_store(read_settings()) as store:
        while True:
            try:
                ROLES[role](store, since)
            except (NoDatabase, LostConnection):
                time.sleep(1.0)  # the database comes back, or the server ends


def run_jobs(store: Store, _: changes.Place) -> None:
    """Take jobs from the queue, one at a time."""
    from cim.analysis.engine.keep import forget_results

    tidied = float("-inf")
    with connect(store.url, autocommit=True) as connection:
        while True:
            jobs.reap(connection)
            if time.monotonic() > tidied + TIDIED_EVERY_S:
                tidied = time.monotonic()
                forget_results(store.settings, jobs.kept_results(connection))
            job = jobs.claim(connection, os.getpid())
            if job is None:
                notifications(connection, [jobs.SUBMITTED], IDLE_S)
                continue
            try:
                _run(store, connection, job)
            finally:
                jobs.release(connection, job.number)


def _run(store: Store, connection: Connection, job: Job) -> None:
    try:
        KINDS[job.kind](store, connection, job)
    except LostConnection:
        raise
    except LayerBusy as busy:  # others than this one may be done meanwhile
        jobs.put_back(connection, job.number, BUSY_AGAIN_S, busy.message)
    except UnusableValue as fault:
        jobs.fail(connection, job.number, BadRequest(say("value-cannot-used-was-given", reason=fault)))
    except Exception as error:  # noqa: BLE001 - whatever an analysis raises is the job's failure, not the worker's
        if not isinstance(error, CimError):
            import traceback

            traceback.print_exc()
        jobs.fail(connection, job.number, error)


def _run_analysis(store: Store, connection: Connection, job: Job) -> None:
    """Compute as the server's role, which sees what the asker may see."""
    from cim.analysis.engine.keep import keep
    from cim.analysis.engine.run import analyse

    last = 0.0

    def progress(share: float, phase: str) -> None:
        nonlocal last
        if time.monotonic() - last > PROGRESS_EVERY_S:
            last = time.monotonic()
            jobs.report_progress(connection, job.number, share, phase)

    with store.connect("server") as reading, reading.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        see_as(cursor, job.asker.role or "")
        computed = analyse(cursor, store, job.name, job.parameters, progress, public_only=job.asker.role is None)
    manifest = keep(store.settings, computed)
    with store.connect() as writing, writing.cursor() as cursor:
        jobs.finish(cursor, job.number, manifest)


def _run_edit(store: Store, _: Connection, job: Job) -> None:
    """Apply an edit and finish its job in one transaction, so that it happens once or not at all."""
    from ingest.load.edit import Edit, apply_edit

    asked = dict(job.parameters)
    at = datetime.fromisoformat(asked["at"]) if asked.get("at") else None
    edit = Edit(store.catalog.layer(job.name), asked["id"], asked["action"], asked.get("feature"), asked["crs"], at)
    with store.connect() as writing, writing.cursor() as cursor:
        edited = apply_edit(cursor, store, edit, job.asker, BUSY_WAIT_S)
        if not jobs.finish(cursor, job.number, json.dumps(keep(asdict(edited)), ensure_ascii=False)):
            writing.rollback()


def _run_rehearsal(store: Store, _: Connection, job: Job) -> None:
    """Try what an upload would do; nothing of it stays."""
    from ingest.sources.uploads import try_upload

    _finish(store, job, try_upload(store, job.parameters["upload"], _declared(job), BUSY_WAIT_S))


def _run_load(store: Store, _: Connection, job: Job) -> None:
    """Load an upload and finish the job in one transaction; where nothing went in, the job just says so."""
    from ingest.sources.uploads import load_upload

    def finish(cursor: Cursor, outcome: Mapping[str, Any]) -> bool:
        return jobs.finish(cursor, job.number, json.dumps(keep(outcome), ensure_ascii=False))

    outcome = load_upload(store, job.parameters["upload"], _declared(job), finish, job.asker, BUSY_WAIT_S)
    if outcome["report"]["load"] is None:
        _finish(store, job, outcome)


def _run_undo(store: Store, _: Connection, job: Job) -> None:
    """Take a load back and finish the job in one transaction."""
    from cim.loads.undo import undo

    with store.connect() as writing, writing.cursor() as cursor:
        undone = undo(cursor, store, int(job.parameters["load"]), job.asker, BUSY_WAIT_S)
        if not jobs.finish(cursor, job.number, json.dumps(asdict(undone))):
            writing.rollback()


def _declared(job: Job) -> Any:
    from ingest.delivery.declared import Declared

    return Declared.model_validate(job.parameters["options"])


def _finish(store: Store, job: Job, result: Mapping[str, Any]) -> None:
    with store.connect() as writing, writing.cursor() as cursor:
        jobs.finish(cursor, job.number, json.dumps(keep(result), ensure_ascii=False))


KINDS: Mapping[str, Callable[[Store, Connection, Job], None]] = {
    "analysis": _run_analysis,
    "edit": _run_edit,
    "rehearsal": _run_rehearsal,
    "load": _run_load,
    "undo": _run_undo,
}


def follow_changes(store: Store, since: changes.Place) -> None:
    """Bring tiles up to date after each change and when a moment passes, and tell who shows them."""
    from tiles.tilers import tiler_of

    with connect(store.url, autocommit=True) as connection:
        connection.execute(f'LISTEN "{changes.CHANGED}"'.encode())
        clock = datetime.now(UTC)
        changed_layers, place = changes.changes_since(connection, since)
        changed = _tiled(connection) | changed_layers  # what nobody followed since they were
        while True:
            for name in sorted(changed):
                layer = store.catalog.layers.get(name)
                tiler = tiler_of(layer) if layer else None
                if layer and tiler and not _tiled_anew(tiler, store, layer):
                    continue
                changes.announce_update(connection, name, tiles=tiler is not None)
            changed_layers, place = changes.changes_since(connection, place)
            if not changed_layers:
                _wait(connection, clock)
                changed_layers, place = changes.changes_since(connection, place)
            now = datetime.now(UTC)
            changed = set(changed_layers) | _passed(connection, clock, now)
            clock = now


def _tiled_anew(tiler: "Tiler", store: Store, layer: "Layer") -> bool:
    """Tile a layer; one that can't be tiled keeps no other from it, and is tried again when it changes."""
    try:
        tiler(store, layer)
    except (NoDatabase, LostConnection):
        raise
    except Exception:  # noqa: BLE001 - whatever a tiler raises is of this layer
        import traceback

        traceback.print_exc()
        return False
    return True


def _tiled(connection: Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT DISTINCT layer FROM cim.tile_root").fetchall()}


def _wait(connection: Connection, clock: datetime) -> None:
    """Wait for a change, or for the next moment."""
    ahead = changes.next_moment(connection, clock)
    seconds = (ahead[0] - datetime.now(UTC)).total_seconds() if ahead else LONGEST_WAIT_S
    if seconds > 0:
        notifications(connection, [changes.CHANGED], min(seconds, LONGEST_WAIT_S))
    changes.forget(connection)


def _passed(connection: Connection, since: datetime, until: datetime) -> set[str]:
    """Return the layers of which something began or ended to hold between two moments."""
    passed: set[str] = set()
    while (ahead := changes.next_moment(connection, since)) and ahead[0] <= until:
        passed |= ahead[1]
        since = ahead[0]
    return passed


def follow_feeds(store: Store, _: changes.Place) -> None:
    """Run feeds when their time comes."""
    from ingest.sources.feeds import run_due

    while True:
        try:
            due = run_due(store, store.settings.feeds_file)
        except CimError as fault:  # a broken feeds.toml is mended while the server runs
            print(f"feeds: {fault}", file=sys.stderr)  # noqa: T201 - the log
            due = None
        ahead = (due - datetime.now(UTC)).total_seconds() if due else LONGEST_WAIT_S
        time.sleep(min(max(ahead, 1.0), FEEDS_LOOKED_AT_S))


ROLES: Mapping[str, Callable[[Store, changes.Place], Any]] = {
    "jobs": run_jobs,
    "changes": follow_changes,
    "feeds": follow_feeds,
}
