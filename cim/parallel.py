"""Work spread over processes: tasks are given out as their results are taken, so that memory stays bounded.

Whatever is a `concurrent.futures.Executor` does: a pool of processes here, a cluster's executor elsewhere.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing import get_context
from typing import Any


def process_pool(
    workers: int, initializer: Callable[..., None] | None = None, initargs: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """Return a pool of processes that share nothing with this one: no connection, no lock, no thread."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["__main__"] + ([initializer.__module__] if initializer else []))
    return ProcessPoolExecutor(workers, mp_context=context, initializer=initializer, initargs=initargs)


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
