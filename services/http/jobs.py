"""Jobs as every door uses them: queued for who asks, waited for a while, their result or their error."""

import time
from typing import Any
from uuid import UUID

from cim import errors
from cim.errors import CimError, FailedJob, NotFound
from cim.jobs import queue as jobs
from cim.messages import known_again, say
from services.http.ask import ASK
from services.http.context import Context

FIRST_LOOK_S, LAST_LOOK_S = 0.01, 0.25


def submit(state: Context, kind: str, name: str, parameters: dict[str, Any]) -> UUID:
    """Queue a job of the asker's."""
    with state.cursor() as cursor:
        return jobs.submit(cursor, kind, name, parameters, ASK.get().asker)


def wait_for(state: Context, job: UUID, longest_s: float) -> jobs.Job:
    """Return a job when it has finished, or as it is after some time."""
    pause, until = FIRST_LOOK_S, time.monotonic() + longest_s
    while True:
        job_state = read_job(state, job)
        if job_state.finished is not None or time.monotonic() > until:
            return job_state
        time.sleep(pause)
        pause = min(pause * 1.5, LAST_LOOK_S)


def error_of(job: jobs.Job) -> CimError:
    """Return why a job failed, as the error that it was; of one that was dismissed, that it has no result."""
    if job.status == "dismissed":
        return NotFound(say("job-has-no-result-was-dismissed", job=job.job))
    kind = getattr(errors, job.error or "", None)
    is_cim_error = isinstance(kind, type) and issubclass(kind, CimError)
    message = known_again(job.message)
    return kind(message) if is_cim_error and kind else FailedJob(message)


def read_job(state: Context, job: UUID) -> jobs.Job:
    """Return a job as it stands."""
    with state.cursor() as cursor:
        return jobs.read_job(cursor, job)


def result_text(state: Context, job: UUID) -> str:
    """Return the result of a finished job."""
    with state.cursor() as cursor:
        return jobs.read_result(cursor, job)


def address_of(job: UUID) -> str:
    """Return where the status document of a job is."""
    return f"{ASK.get().base_url}/ogc/jobs/{job}"
