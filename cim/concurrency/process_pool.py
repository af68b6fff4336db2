"""Work spread over processes: tasks are given out as their results are taken, so that memory stays bounded.

Whatever is a `concurrent.futures.Executor` does: a pool of processes here, a cluster's executor elsewhere.
"""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any


@dataclass(frozen=True)
class Pool:
    """Processes that take tasks."""

    executor: Executor
    standing: Future[None]  # done when the first of them has started


@contextmanager
def process_pool(
    workers: int, home: str, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()
) -> Iterator[Pool]:
    """Lend processes that share nothing with this one: no connection, no lock, no thread.

    They start beside what this process does meanwhile: the first ones of a program after about a second.

    Args:
        workers: how many.
        home: the module whose functions they will call.
        initializer: what each does first, with `initargs`.
        initargs: the arguments of the initializer.

    """
    context = get_context("forkserver")
    context.set_forkserver_preload([home])
    processes = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(initializer, initargs))
    with ThreadPoolExecutor(1) as starter, processes:
        yield Pool(processes, starter.submit(_start, processes, workers))


def _begin(initializer: Callable[..., None] | None, initargs: tuple[Any, ...]) -> None:
    """Be a process of the pool, which ends with the one that lends it, even where that one is killed."""
    Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _start(processes: Executor, workers: int) -> None:
    with without_main():
        begun = [processes.submit(_nothing) for _ in range(workers)]
    wait(begun, return_when=FIRST_COMPLETED)


def _nothing() -> None:
    """Be the first task of a process."""


@contextmanager
def without_main() -> Iterator[None]:
    """Hide the main module: a process that starts would run it again, imports and all, and needs none of it."""
    main = sys.modules["__main__"].__dict__
    hidden: dict[str, Any] = {name: main.pop(name) for name in ("__spec__", "__file__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        main.update(hidden)


def in_order[T, R](executor: Executor, work: Callable[[T], R], tasks: Iterable[T], ahead: int) -> Iterator[R]:
    """Yield the results of tasks in their order, with at most `ahead` of them under way or waiting to be taken."""
    waiting = iter(tasks)
    under_way: deque[Future[R]] = deque(executor.submit(work, task) for task in islice(waiting, ahead))
    try:
        while under_way:
            result = under_way.popleft().result()
            under_way.extend(executor.submit(work, task) for task in islice(waiting, 1))
            yield result
    finally:
        for future in under_way:
            future.cancel()
