"""A file opened: its tables, each with its rows on their way; here, or by a process while others are loaded.

Small files are read whole by processes, several at a time; of a big one, the batches are (`ingest.load.work`).
"""

import traceback
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cim.catalog.model import Catalog
from cim.city import City
from cim.concurrency.process_pool import in_order, process_pool
from cim.config import Settings
from cim.errors import CimError, UnreadableFile
from cim.features import Header, ReadOptions, Source
from cim.read.terrain import Ground
from ingest.delivery.declared import Declared, read_options
from ingest.formats.readers import reader_of
from ingest.load.place import placement
from ingest.load.work import Prepared, Work, prepared

FEW_FILES, FEW_BYTES = 8, 8_000_000  # for less, other processes aren't worth their start
SHARE = 1 / 40  # of the memory setting that a file may have to be read whole by a process: rows are larger than files
IN_FLIGHT = 2  # files a process


@dataclass(frozen=True)
class Job:
    """A file to read, and all that a process must know to make rows of it."""

    path: Path
    shown: str  # what it is called in the report
    declared: Declared
    catalog: Catalog
    city: City
    settings: Settings
    ground: Ground
    root: Path | None = None  # folder that nothing it names may lie outside of; None: the owner's own


@dataclass
class Table:
    """A table of a file, and its rows, batch by batch."""

    header: Header
    where: str  # the file, and the table where it has several
    name: str | None  # None: it has one
    batches: Iterable[Prepared]


def tables(job: Job, *, workers: int) -> Iterator[Table]:
    """Open a file; its rows are made as they are asked for, a few ahead.

    Raises:
        CimError: it can't be read, or isn't of this city.

    """
    reader = reader_of(job.path)
    if reader is None or job.path.stat().st_size == 0:
        raise UnreadableFile(f"{job.path}: a file of zero bytes")
    if (needed := reader.memory_mb(job.path)) > job.settings.memory_mb:
        raise UnreadableFile(
            f"{job.path}: a {job.path.suffix.lower()} file is held whole, this one in about {needed:.0f} MB, more than "
            f"the {job.settings.memory_mb} MB of the setting memory_mb: raise it, or deliver it in parts or as a "
            "format that is streamed (GeoPackage, CityGML, CityJSONSeq, 3D Tiles)"
        )
    options = replace(read_options(job.catalog, job.declared), workers=workers, root=job.root)
    sources = list(reader.read(job.path, options))
    for source in sources:
        hint = source.header.layer_hint if len(sources) > 1 else None
        where = str(job.path) if hint is None else f"{job.path}, table {hint}"
        yield Table(source.header, where, hint, _rows(job, source, options, where, workers))


def _rows(job: Job, source: Source, options: ReadOptions, where: str, workers: int) -> Iterator[Prepared]:
    header = source.header
    work = Work(
        catalog=job.catalog,
        city=job.city,
        header=header,
        declared=job.declared,
        options=options,
        placement=placement(header, job.declared, job.city, where) if header.spatial else None,
        ground=job.ground,
        settings=job.settings,
        path=job.shown,
        where=where,
    )
    with closed_after(source.batches), closed_after(prepared(work, source, workers)) as fresh:
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


def read_whole(job: Job) -> ReadFile:
    """Read a file; the function that a process runs."""
    done = ReadFile()
    try:
        for table in tables(job, workers=1):
            done.tables.append(replace(table, batches=list(table.batches)))
    except CimError as fault:
        done.fault = fault
    except Exception as fault:  # noqa: BLE001 - it is told where the file would have been loaded
        traceback.print_exc()
        done.fault = RuntimeError(f"{type(fault).__name__}: {fault}")
    return done


def opened(jobs: Sequence[Job], settings: Settings) -> Iterator[Iterator[Table]]:
    """Yield for each file its tables; of many small ones, those that follow are read by processes meanwhile.

    What a file's reader raises, comes when its tables are asked for.
    """
    workers = settings.worker_count
    sizes = [_bytes_of_small(job, settings.memory_bytes * SHARE) for job in jobs]
    waiting = deque(zip(jobs, sizes, strict=True))
    if workers > 1 and sum(map(bool, sizes)) >= FEW_FILES and sum(sizes) >= FEW_BYTES:
        with process_pool(workers, __name__) as pool:
            while waiting and not pool.standing.done():
                yield tables(waiting.popleft()[0], workers=1)
            small = (job for job, size in tuple(waiting) if size)
            read = in_order(pool.executor, read_whole, small, ahead=IN_FLIGHT * workers)
            while waiting:
                job, size = waiting.popleft()
                yield _again(next(read)) if size else tables(job, workers=1)
    while waiting:
        yield tables(waiting.popleft()[0], workers=workers)


def _bytes_of_small(job: Job, largest: float) -> int:
    """Return the size of a file that a process may read whole; of others none."""
    reader = reader_of(job.path)
    size = job.path.stat().st_size
    return size if reader and not reader.whole and size <= largest else 0


def _again(done: ReadFile) -> Iterator[Table]:
    yield from done.tables
    if done.fault is not None:
        raise done.fault
