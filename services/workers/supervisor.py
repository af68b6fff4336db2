"""Keeps the server's worker processes: starts them, starts a new one for each that ends, ends one on request."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from cim.errors import CimError
from cim.jobs import queue as jobs
from cim.store.connection import Connection, LostConnection, Store, connect, notifications

CALM_S = 1.0  # a worker that ends sooner than this after its start isn't started again at once
STOP_S = 3.0


class Supervisor:
    """The worker processes of one server."""

    def __init__(self, store: Store, job_workers: int) -> None:
        self._store = store
        self._wanted = ["jobs"] * job_workers + ["changes", "feeds"]
        self._processes: dict[int, tuple[str, float, subprocess.Popen[bytes]]] = {}
        self._stopping = threading.Event()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the processes and the thread that watches them."""
        for role in self._wanted:
            self._spawn(role)
        threading.Thread(target=self._watch, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def stop(self) -> None:
        """End all processes."""
        self._stopping.set()
        with self._lock:
            for _, _, process in self._processes.values():
                if process.stdin:
                    process.stdin.close()  # a worker ends when its input does
            for _, _, process in self._processes.values():
                try:
                    process.wait(STOP_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def _spawn(self, role: str) -> None:
        process = subprocess.Popen([sys.executable, "-m", "services.workers.worker", role], stdin=subprocess.PIPE)
        self._processes[process.pid] = (role, time.monotonic(), process)

    def _watch(self) -> None:
        while not self._stopping.wait(0.1):
            with self._lock:
                for pid, (role, since, process) in list(self._processes.items()):
                    if process.poll() is None or time.monotonic() - since < CALM_S or self._stopping.is_set():
                        continue
                    if process.stdin:
                        process.stdin.close()
                    del self._processes[pid]
                    self._spawn(role)

    def _listen(self) -> None:
        while not self._stopping.is_set():
            with suppress(CimError, LostConnection), connect(self._store.url, autocommit=True) as connection:
                while not self._stopping.is_set():
                    for _, payload in notifications(connection, [jobs.DISMISSED], 1.0):
                        self._end(connection, payload)
            self._stopping.wait(1.0)

    def _end(self, connection: Connection, payload: str) -> None:
        """End the process of a dismissed job, unless it went on to another."""
        pid, number = (int(part) for part in payload.split())
        busy = connection.execute(
            "SELECT 1 FROM cim.job WHERE worker = %s AND number <> %s AND status = 'running'", [pid, number]
        ).fetchone()
        with self._lock:
            if pid in self._processes and not busy:
                self._processes[pid][2].kill()


@contextmanager
def supervised(store: Store, job_workers: int) -> Iterator[None]:
    """Keep worker processes while the block runs."""
    supervisor = Supervisor(store, job_workers)
    supervisor.start()
    try:
        yield
    finally:
        supervisor.stop()
