"""The queue of jobs: submitted by whoever serves, claimed by worker processes, one effect each.

A job's effect and its being finished are one transaction. A worker that dies leaves both undone; the job goes back to
the queue once, and fails with that reason when it happens again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cim.access.asker import Asker
from cim.errors import BadRequest, CimError, NotFound, TooManyJobs
from cim.messages import kept, known_again, say
from cim.store.connection import Connection, Cursor

LOCK_SPACE = 1_668_441_674  # any number that nothing else in the database uses
MOST_OPEN = 20  # jobs of one asker that wait or run
MOST_RUNNING = 2  # of one asker at a time
ATTEMPTS = 2
KEPT_DAYS = 7
SUBMITTED, DISMISSED = "cim_job", "cim_dismissed"  # channels of NOTIFY


@dataclass(frozen=True)
class Job:
    """A job as it stands."""

    job: UUID
    number: int
    kind: str
    name: str
    parameters: Mapping[str, Any]
    asker: Asker
    status: str
    progress: float
    message: str
    error: str | None
    attempt: int
    created: datetime
    started: datetime | None
    updated: datetime
    finished: datetime | None
    shared: bool


_COLUMNS = (
    "job, number, kind, name, parameters, account, role, address, status, progress, message, error, attempt, created,"
    " started, updated, finished, shared"
)


def _job(row: tuple[Any, ...]) -> Job:
    names = [name.strip() for name in _COLUMNS.split(",")]
    values = dict(zip(names, row, strict=True))
    asker = Asker(*(values.pop(name) for name in ("account", "role", "address")))
    return Job(asker=asker, **values)


def submit(cursor: Cursor, kind: str, name: str, parameters: Mapping[str, Any], asker: Asker) -> UUID:
    """Queue a job.

    Raises:
        TooManyJobs: the asker has as many open ones as one may have.

    """
    cursor.execute(
        f"""INSERT INTO cim.job (kind, name, parameters, account, role, address)
            SELECT %(kind)s, %(name)s, %(parameters)s::jsonb, %(account)s, %(role)s, %(address)s
            WHERE (SELECT count(*) FROM cim.job WHERE status IN ('accepted', 'running')
                   AND {_ASKER} = %(asker)s) < {MOST_OPEN}
            RETURNING job""",
        {
            "kind": kind,
            "name": name,
            "parameters": json.dumps(parameters, ensure_ascii=False),
            "account": asker.account,
            "role": asker.role,
            "address": asker.address,
            "asker": asker.name,
        },
    )
    row = cursor.fetchone()
    if row is None:
        raise TooManyJobs(say("jobs-yours-wait-run-already", most_open=MOST_OPEN))
    cursor.execute("SELECT pg_notify(%s, '')", [SUBMITTED])
    return UUID(str(row[0]))


_ASKER = "coalesce(account, '@' || coalesce(address, 'None'))"


def claim(connection: Connection, worker: int) -> Job | None:
    """Take the next job and its lock, which the connection holds until `release`; None: there is none to take.

    Edits go before analyses, those of a layer one after the other; an asker whose jobs run already waits.
    """
    row = connection.execute(
        f"""UPDATE cim.job SET status = 'running', started = now(), updated = now(), worker = %s,
                   attempt = attempt + 1, progress = 0, message = ''
            WHERE number = (
                SELECT number FROM cim.job j WHERE status = 'accepted' AND coalesce(not_before <= now(), true)
                  AND (kind <> 'analysis' OR (
                    SELECT count(*) FROM cim.job r WHERE r.status = 'running' AND r.kind = 'analysis'
                    AND coalesce(r.account, '@' || coalesce(r.address, 'None')) = {_ASKER}) < {MOST_RUNNING})
                  AND (kind <> 'edit' OR NOT EXISTS (
                    SELECT FROM cim.job e WHERE e.kind = 'edit' AND e.name = j.name AND e.number < j.number
                    AND e.status IN ('accepted', 'running')))
                ORDER BY kind = 'analysis', number FOR UPDATE SKIP LOCKED LIMIT 1)
              AND pg_try_advisory_lock({LOCK_SPACE}, number)
            RETURNING {_COLUMNS}""",
        [worker],
    ).fetchone()
    return _job(row) if row else None


def release(connection: Connection, number: int) -> None:
    """Give a job's lock back."""
    connection.execute(f"SELECT pg_advisory_unlock({LOCK_SPACE}, %s)", [number])


def report_progress(connection: Connection, number: int, share: float, message: str) -> None:
    """Say how far a job is."""
    connection.execute(
        "UPDATE cim.job SET progress = %s, message = %s, updated = now() WHERE number = %s AND status = 'running'",
        [share, message, number],
    )


def finish(cursor: Cursor, number: int, result: str) -> bool:
    """Note a job's result in the transaction of its effect.

    Returns:
        False: it was dismissed in the meantime; the caller rolls its effect back.

    """
    cursor.execute(
        """UPDATE cim.job SET status = 'successful', progress = 1, message = '', result = %s, finished = now(),
                  updated = now() WHERE number = %s AND status = 'running'""",
        [result, number],
    )
    return cursor.rowcount == 1


def fail(connection: Connection, number: int, error: Exception) -> None:
    """Note why a job failed."""
    kind = type(error).__name__ if isinstance(error, CimError) else "Fault"
    connection.execute(
        """UPDATE cim.job SET status = 'failed', message = %s, error = %s, finished = now(), updated = now()
           WHERE number = %s AND status = 'running'""",
        [kept(error.message) if isinstance(error, CimError) else str(error) or type(error).__name__, kind, number],
    )


def put_back(connection: Connection, number: int, seconds: float, message: str) -> None:
    """Put a job back into the queue that something kept from beginning; it is taken again after some seconds."""
    connection.execute(
        """UPDATE cim.job SET status = 'accepted', worker = NULL, attempt = attempt - 1, message = %s, updated = now(),
                  not_before = now() + make_interval(secs => %s) WHERE number = %s AND status = 'running'""",
        [kept(message), seconds, number],
    )


def dismiss(cursor: Cursor, job: UUID) -> Job:
    """Dismiss a job: one that waits never runs, the process of one that runs is ended, a finished one is forgotten.

    Raises:
        NotFound: there is no such job.

    """
    row = cursor.execute(
        """UPDATE cim.job SET status = 'dismissed', finished = now(), updated = now(), message = %s,
                  result = NULL, shared = false WHERE job = %s RETURNING worker, number""",
        [kept(say("job-dismissed")), job],
    ).fetchone()
    if row is None:
        raise NotFound(say("no-job", job=job))
    if row[0] is not None:
        cursor.execute("SELECT pg_notify(%s, %s)", [DISMISSED, f"{row[0]} {row[1]}"])
    return read_job(cursor, job)


def busy_with_another(connection: Connection, worker: int, number: int) -> bool:
    """Whether the process `worker` runs another job than the one of this number, which was dismissed."""
    sql = "SELECT 1 FROM cim.job WHERE worker = %s AND number <> %s AND status = 'running'"
    return connection.execute(sql, [worker, number]).fetchone() is not None


def share(cursor: Cursor, job: UUID, *, shared: bool) -> Job:
    """Share a job's result with everybody, or take that back; return the job."""
    cursor.execute("UPDATE cim.job SET shared = %s, updated = now() WHERE job = %s", [shared, job])
    return read_job(cursor, job)


def kept_results(connection: Connection) -> list[str]:
    """Return the results of all finished analyses."""
    sql = "SELECT result FROM cim.job WHERE kind = 'analysis' AND result IS NOT NULL"
    return [row[0] for row in connection.execute(sql).fetchall()]


def reap(connection: Connection) -> int:
    """Put jobs whose worker is gone back into the queue, or fail them where that happened before; return how many.

    Finished jobs are forgotten after some days, but for those whose result is shared.
    """
    lost = connection.execute(
        f"""WITH lost AS (
                SELECT number FROM cim.job WHERE status = 'running' AND pg_try_advisory_xact_lock({LOCK_SPACE}, number))
            UPDATE cim.job SET updated = now(), worker = NULL,
                   status = CASE WHEN attempt < {ATTEMPTS} THEN 'accepted' ELSE 'failed' END,
                   error = CASE WHEN attempt < {ATTEMPTS} THEN NULL ELSE 'LostWorker' END,
                   finished = CASE WHEN attempt < {ATTEMPTS} THEN NULL ELSE now() END,
                   message = CASE WHEN attempt < {ATTEMPTS} THEN %s ELSE %s END
            WHERE number IN (SELECT number FROM lost) AND status = 'running'""",
        [kept(say("worker-ended-queued-again")), kept(say("worker-ended-times", times=ATTEMPTS))],
    ).rowcount
    connection.execute(
        "DELETE FROM cim.job WHERE finished < now() - make_interval(days => %s) AND NOT shared", [KEPT_DAYS]
    )
    return lost


def read_job(cursor: Cursor, job: UUID) -> Job:
    """Return a job.

    Raises:
        NotFound: there is none of that id.

    """
    row = cursor.execute(f"SELECT {_COLUMNS} FROM cim.job WHERE job = %s", [job]).fetchone()
    if row is None:
        raise NotFound(say("no-job", job=job))
    return _job(row)


def read_result(cursor: Cursor, job: UUID) -> str:
    """Return the result of a finished job.

    Raises:
        NotFound: it has none (yet): waiting, running, failed or dismissed.

    """
    row = cursor.execute("SELECT result, status, message FROM cim.job WHERE job = %s", [job]).fetchone()
    if row is None:
        raise NotFound(say("no-job", job=job))
    if row[0] is None:
        reason = known_again(row[2])
        if reason:
            raise NotFound(say("job-has-no-result-since", job=job, status=row[1], reason=reason))
        raise NotFound(say("job-has-no-result", job=job, status=row[1]))
    return str(row[0])


def list_jobs(cursor: Cursor, asker: Asker, limit: int = 100) -> list[Job]:
    """Return an asker's jobs and shared ones, the newest first; an admin's list has everybody's."""
    everybody = asker.role == "admin"
    rows = cursor.execute(
        f"""SELECT {_COLUMNS} FROM cim.job WHERE kind = 'analysis' AND (%s OR {_ASKER} = %s OR shared)
            ORDER BY number DESC LIMIT %s""",
        [everybody, asker.name, limit],
    ).fetchall()
    return [_job(row) for row in rows]


def parse_id(text: str) -> UUID:
    """Return a job's id.

    Raises:
        BadRequest: it isn't one.

    """
    try:
        return UUID(text)
    except ValueError as fault:
        raise BadRequest(say("not-id-job", text=text)) from fault
