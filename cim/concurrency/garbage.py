"""How often Python looks for garbage in cycles while much is made that holds none."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_LESS = 100
_lock = Lock()
_thresholds: list[tuple[int, int, int]] = []  # one for each that asked for less: what it met


@contextmanager
def rarely_collecting() -> Iterator[None]:
    """Look for cycles a hundred times less: batches of records hold none, and looking takes a sixteenth of a load.

    It may be nested and entered by several threads: the last to leave restores what the first met.
    """
    with _lock:
        first = _thresholds[0] if _thresholds else gc.get_threshold()
        _thresholds.append(first)
        gc.set_threshold(first[0] * _LESS, *first[1:])
    try:
        yield
    finally:
        with _lock:
            first = _thresholds.pop()
            if not _thresholds:
                gc.set_threshold(*first)
