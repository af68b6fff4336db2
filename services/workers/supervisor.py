"""The worker processes of one server: which there are, and which ends because its job was dismissed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cim.errors import CimError
from cim.jobs import queue as jobs
from cim.store import outbox
from cim.store.connection import LostConnection, Store, connect, notifications
from services.workers import worker
from services.workers.nursery import Nursery


def nursery_of(job_workers: int) -> Nursery:
    """Return the processes of a server, not started yet: for jobs, for changes, for feeds."""
    return Nursery(worker.main, ["jobs"] * job_workers + ["changes", "feeds"], worker.IMPORTED)


@contextmanager
def supervised(nursery: Nursery, store: Store) -> Iterator[None]:
    """Have the processes work on a store while the block runs, and end the one whose job is dismissed."""
    with connect(store.url, autocommit=True) as connection:
        nursery.start(outbox.here(connection))  # what changes from now on is followed, however late they stand
    stopping = threading.Event()
    threading.Thread(target=_listen, args=(nursery, store, stopping), daemon=True).start()
    try:
        yield
    finally:
        stopping.set()
        nursery.stop()  # before the store is left: the last one out stops the database


def _listen(nursery: Nursery, store: Store, stopping: threading.Event) -> None:
    while not stopping.is_set():
        with suppress(CimError, LostConnection), connect(store.url, autocommit=True) as connection:
            while not stopping.is_set():
                nursery.renew()
                for _, payload in notifications(connection, [jobs.DISMISSED], 1.0):
                    pid, number = (int(part) for part in payload.split())
                    if not jobs.busy_with_another(connection, pid, number):
                        nursery.end(pid)
        stopping.wait(1.0)
