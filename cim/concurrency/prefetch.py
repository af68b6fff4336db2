"""Working ahead: an iterator run by a thread of its own while its earlier parts are still in use."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Full, Queue
from threading import Event, Thread


def ahead[T](parts: Iterator[T], waiting: int = 2) -> Iterator[T]:
    """Yield what an iterator gives, in its order.

    Args:
        parts: run by a thread until it ends, raises, or the caller stops asking.
        waiting: parts that may lie ready.

    Raises:
        BaseException: what the iterator raises, where the caller asks for that part.

    """
    made: Queue[tuple[T | None, BaseException | None]] = Queue(waiting)
    stopped = Event()

    def put(part: T | None, fault: BaseException | None = None) -> bool:
        while not stopped.is_set():
            with suppress(Full):
                made.put((part, fault), timeout=0.2)
                return True
        return False

    def make() -> None:
        try:
            for part in parts:
                if not put(part):
                    return
            put(None, StopIteration())
        except BaseException as fault:  # noqa: BLE001 - raised again where the parts are used
            put(None, fault)

    thread = Thread(target=make, daemon=True)
    thread.start()
    try:
        while True:
            part, fault = made.get()
            if isinstance(fault, StopIteration):
                return
            if fault is not None:
                raise fault
            yield part  # type: ignore[misc] # None only where there is a fault
    finally:
        stopped.set()
        thread.join()
