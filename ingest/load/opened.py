"""A file opened: its tables, each with its rows on their way; here, or by a process while others are loaded.

Small files are read whole by processes, several at a time; of a big one, the batches are (`ingest.load.work`).
"""

import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from cim.concurrency.process_pool import in_order, process_pool
from cim.config import Settings
from cim.errors import CimError, UnreadableFile
from cim.features import Header, Source
from cim.messages import say
from ingest.formats.contract import Incoming
from ingest.load.work import Prepared, prepared

FEW_FILES, FEW_BYTES = 8, 8_000_000  # for less, other processes aren't worth their start
SHARE = 1 / 40  # of the memory setting that a file may have to be read whole by a process: rows are larger than files
IN_FLIGHT = 2  # files a process


@dataclass
class Table:
    """A table of a file, and its rows, batch by batch."""

    header: Header
    name: str | None  # None: the file has one
    batches: Iterable[Prepared]


def tables(incoming: Incoming, *, workers: int) -> Iterator[Table]:
    """Open a file; its rows are made as they are asked for, a few ahead.

    Raises:
        CimError: it can't be read, or isn't of this city.

    """
    reader, path, settings = incoming.reader, incoming.path, incoming.settings
    if reader is None or path.stat().st_size == 0:
        raise UnreadableFile(say("file-zero-bytes", file=path))
    if (needed := reader.memory_mb(path)) > settings.memory_mb:
        raise UnreadableFile(
            say("file-held-whole", file=path, suffix=path.suffix.lower(), needed=needed, memory_mb=settings.memory_mb)
        )
    sources = list(reader.read(path, replace(incoming.options, workers=workers)))
    for source in sources:
        name = source.header.layer_hint if len(sources) > 1 else None
        yield Table(source.header, name, _rows(incoming.of_table(source.header, name), source, workers))


def _rows(incoming: Incoming, source: Source, workers: int) -> Iterator[Prepared]:
    with closed_after(source.batches), closed_after(prepared(incoming, source, workers)) as fresh:
        yield from fresh


@contextmanager
def closed_after[T](items: Iterator[T]) -> Iterator[Iterator[T]]:
    """Let a generator end when the block does, so that what it holds (files, a connection) is let go of at once."""
    try:
        yield items
    finally:
        if isinstance(items, Generator):
            items.close()


@dataclass
class ReadFile:
    """A file that a process has read: its tables with all their rows, up to the fault that ended it."""

    tables: list[Table] = field(default_factory=list)
    fault: Exception | None = None


def read_whole(incoming: Incoming) -> ReadFile:
    """Read a file; the function that a process runs."""
    done = ReadFile()
    try:
        for table in tables(incoming, workers=1):
            done.tables.append(replace(table, batches=list(table.batches)))
    except CimError as fault:
        done.fault = fault
    except Exception as fault:  # noqa: BLE001 - it is told where the file would have been loaded
        traceback.print_exc()
        done.fault = RuntimeError(f"{type(fault).__name__}: {fault}")
    return done


def opened(files: Sequence[Incoming], settings: Settings) -> Iterator[Iterator[Table]]:
    """Yield for each file its tables; of many small ones, those that follow are read by processes meanwhile.

    What a file's reader raises, comes when its tables are asked for.
    """
    workers = settings.worker_count
    sizes = [_bytes_of_small(incoming, settings.memory_bytes * SHARE) for incoming in files]
    waiting = deque(zip(files, sizes, strict=True))
    if workers > 1 and sum(map(bool, sizes)) >= FEW_FILES and sum(sizes) >= FEW_BYTES:
        with process_pool(workers, __name__) as pool:
            while waiting and not pool.standing.done():
                yield tables(waiting.popleft()[0], workers=1)
            small = (incoming.apart() for incoming, size in tuple(waiting) if size)
            read = in_order(pool.executor, read_whole, small, ahead=IN_FLIGHT * workers)
            while waiting:
                incoming, size = waiting.popleft()
                yield _again(next(read)) if size else tables(incoming, workers=1)
    while waiting:
        yield tables(waiting.popleft()[0], workers=workers)


def _bytes_of_small(incoming: Incoming, largest: float) -> int:
    """Return the size of a file that a process may read whole; of others none."""
    reader, size = incoming.reader, incoming.path.stat().st_size
    return size if reader and not reader.whole and size <= largest else 0


def _again(done: ReadFile) -> Iterator[Table]:
    yield from done.tables
    if done.fault is not None:
        raise done.fault
