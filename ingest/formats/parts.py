"""Parts of a large file, each a small file of its own, read by processes that end after some of them."""

from collections.abc import Callable, Iterator
from itertools import islice

from cim.concurrency.process_pool import in_order, process_pool

LARGE_BYTES = 16 << 20  # a file of more is read in parts, where its library would hold it whole
_PARTS_A_PROCESS = 8  # libraries don't let go of all that they held


def done[P, R](work: Callable[[P], R], parts: Iterator[P], workers: int, home: str) -> Iterator[R]:
    """Yield what a function gives for each part, in their order; a few parts are under way.

    Args:
        work: the function; of a module, with arguments that can be sent.
        parts: what it is called with.
        workers: how many processes.
        home: the module that has the function.

    """
    for some in iter(lambda: tuple(islice(parts, _PARTS_A_PROCESS * workers)), ()):
        with process_pool(workers, home) as pool:
            yield from in_order(pool.executor, work, some, ahead=workers + 1)
