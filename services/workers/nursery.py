"""Processes beside the server, forked from one that has imported what they need.

A server of many workers starts as fast as one of few, and they share the memory of their libraries. The nursery is
forked from the server before that connects to anything or starts a thread; it imports, and forks the workers from the
only thread of ours (numerical libraries have some by then, and go through a fork well). It starts a new worker for each
that ends, ends one on request, and ends them all when the server ends, however that comes. If it is killed itself, its
workers end with it, and the server makes a new one.
"""

import ctypes
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
from multiprocessing.context import ForkProcess, SpawnProcess
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self

from cim.concurrency.process_pool import without_main

CALM_S = 1.0  # a worker that ends sooner than this after its start isn't started again at once
STOP_S = 3.0
PR_SET_PDEATHSIG = 1  # prctl(2)
_FORK, _SPAWN = get_context("fork"), get_context("spawn")


class Nursery:
    """The processes of one server; forks when it is entered, starts them when it is told to, ends them when it is left.

    Args:
        work: what each process does, given its role and what `start` is given.
        roles: one process each.
        imported: the modules that they need, imported once for all.

    """

    def __init__(self, work: Callable[..., None], roles: Sequence[str], imported: Sequence[str]) -> None:
        self._tended = (work, list(roles), list(imported))
        self._given: tuple[object, ...] = ()
        self._stopped = False
        self._lock = Lock()

    def __enter__(self) -> Self:
        self._orders, inbox = _FORK.Pipe()
        self._process: ForkProcess | SpawnProcess = _FORK.Process(
            target=_tend, args=(inbox, self._orders, *self._tended)
        )
        self._process.start()
        inbox.close()
        return self

    def start(self, *given: object) -> None:
        """Start the processes: the database that they work on is there."""
        self._given = given
        self._order(given)

    def end(self, pid: int) -> None:
        """End a process, for which a new one starts."""
        self._order(pid)

    def renew(self) -> None:
        """Make another nursery where this one was killed: a program of its own, as the server has threads by now."""
        with self._lock:
            if self._stopped or self._process.is_alive():
                return
            self._orders.close()
            self._orders, inbox = _SPAWN.Pipe()
            self._process = _SPAWN.Process(target=_tend, args=(inbox, None, *self._tended))
            with without_main():
                self._process.start()
            inbox.close()
            self._order(self._given)

    def stop(self) -> None:
        """End all processes."""
        with self._lock:
            self._stopped = True
            self._orders.close()
        self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.kill()  # the workers end with it
            self._process.join()

    def _order(self, order: object) -> None:
        with suppress(OSError):  # it was killed, and is renewed
            self._orders.send(order)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _tend(
    inbox: Pipe, orders: Pipe | None, work: Callable[..., None], roles: Sequence[str], imported: Sequence[str]
) -> None:
    """Keep a process for each role until the other end of the pipe is closed."""
    if orders is not None:
        orders.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends the others
    _call("cim workers")
    for module in imported:
        import_module(module)
    gc.freeze()  # what was imported stays shared
    processes: dict[int, tuple[str, float, ForkProcess]] = {}
    try:
        with suppress(EOFError):
            _keep(inbox, processes, work, roles)
    finally:
        for _, _, process in processes.values():
            process.kill()  # what one is about is a transaction, and begins again with the next server
        for _, _, process in processes.values():
            process.join()


def _keep(
    inbox: Pipe, processes: dict[int, tuple[str, float, ForkProcess]], work: Callable[..., None], roles: Sequence[str]
) -> None:
    given = inbox.recv()
    due = [(0.0, role) for role in roles]  # when to start a process of a role
    while True:
        now = time.monotonic()
        ripe, due = [row for row in due if row[0] <= now], [row for row in due if row[0] > now]
        for _, role in ripe:
            process = _FORK.Process(target=_work, args=(os.getpid(), work, role, *given), name=role)
            try:
                process.start()
            except OSError:  # there may be as many processes as are allowed
                due.append((now + CALM_S, role))
            else:
                processes[process.pid or 0] = (role, now, process)
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


def _work(nursery: int, work: Callable[..., None], role: str, *given: object) -> None:
    _end_with(nursery)
    _call(f"cim {role}")
    work(role, *given)


def _end_with(parent: int) -> None:
    """End this process when its parent ends, also where that is killed."""
    with suppress(AttributeError):  # Linux has it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _call(name: str) -> None:
    """Name this process, for `ps` and `top`."""
    with suppress(OSError):
        Path(f"/proc/{os.getpid()}/comm").write_text(name)
