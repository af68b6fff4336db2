"""Processes beside the server, forked from one that has imported what they need and is of a single thread.

A server of many workers starts as fast as one of none, and they share the memory of their libraries. The nursery is
forked before the server opens a connection or starts a thread, neither of which goes through a fork well; it starts the
workers, starts a new one for each that ends, ends one on request, and ends them all when the server ends, however.
"""

import gc
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self

from cim.concurrency.process_pool import end_with_parent

CALM_S = 1.0  # a worker that ends sooner than this after its start isn't started again at once
_FORK = get_context("fork")


class Nursery:
    """The processes of one server; forks when it is entered, starts them when it is told to, ends them when it is left.

    Args:
        work: what each process does, given its role and what `start` is given.
        roles: one process each.
        imported: the modules that they need, imported once for all.

    """

    def __init__(self, work: Callable[..., None], roles: Sequence[str], imported: Sequence[str]) -> None:
        for module in imported:
            import_module(module)
        self._orders, inbox = _FORK.Pipe()
        self._process = _FORK.Process(target=_tend, args=(inbox, self._orders, work, list(roles)))
        self._inbox = inbox

    def __enter__(self) -> Self:
        self._process.start()
        self._inbox.close()
        return self

    def start(self, *given: object) -> None:
        """Start the processes: the database that they work on is there."""
        self._order(given)

    def end(self, pid: int) -> None:
        """End a process, for which a new one starts."""
        self._order(pid)

    def _order(self, order: object) -> None:
        with suppress(OSError):  # it ends with the server
            self._orders.send(order)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._orders.close()
        self._process.join()


def _tend(inbox: Pipe, orders: Pipe, work: Callable[..., None], roles: list[str]) -> None:
    """Keep a process for each role until the other end of the pipe is closed."""
    orders.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends the others
    _call("cim workers")
    gc.freeze()  # what was imported stays shared
    processes: dict[int, tuple[str, float, ForkProcess]] = {}
    due: list[tuple[float, str]] = []  # when to start a process of a role
    with suppress(EOFError):
        given = inbox.recv()
        due = [(0.0, role) for role in roles]
        while True:
            now = time.monotonic()
            for _, role in [row for row in due if row[0] <= now]:
                process = _FORK.Process(target=_work, args=(work, role, *given), name=role)
                process.start()
                processes[process.pid or 0] = (role, now, process)
            due = [row for row in due if row[0] > now]
            pause = min((at for at, _ in due), default=None)
            sentinels = [process.sentinel for _, _, process in processes.values()]
            ready = wait([inbox, *sentinels], None if pause is None else max(pause - now, 0.0))
            if inbox in ready:
                pid = inbox.recv()
                if pid in processes:
                    processes[pid][2].kill()
            for pid, (role, since, process) in list(processes.items()):
                if process.sentinel in ready:
                    process.join()
                    del processes[pid]
                    due.append((since + CALM_S, role))
    for _, _, process in processes.values():
        process.kill()  # what one is about is a transaction, and begins again with the next server
    for _, _, process in processes.values():
        process.join()


def _work(work: Callable[..., None], role: str, *given: object) -> None:
    Thread(target=end_with_parent, daemon=True).start()
    _call(f"cim {role}")
    work(role, *given)


def _call(name: str) -> None:
    """Name this process, for `ps` and `top`."""
    with suppress(OSError):
        Path(f"/proc/{os.getpid()}/comm").write_text(name)
