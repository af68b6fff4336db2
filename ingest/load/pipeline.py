"""The pipeline: files → batches → checks → rows → staging → one merge. A call is one transaction, whole or absent."""

import gc
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from cim.access.asker import COMMAND_LINE, Asker
from cim.access.audit import note
from cim.concurrency.prefetch import ahead
from cim.errors import CimError, NothingToLoad, UnknownLayer
from cim.loads.load import begin_load, note_source
from cim.loads.quality import keep_quality
from cim.loads.quarantine import set_aside
from cim.read.terrain import ground_of
from cim.store.binary_copy import json_text
from cim.store.connection import Connection, Cursor, LostConnection, Store
from ingest.delivery.declared import DatasetFile, Declared, declared_for
from ingest.delivery.report import FileReport, LoadReport
from ingest.formats.readers import reader_of
from ingest.load.discover import File, find_files
from ingest.load.opened import Job, Table, closed_after, opened
from ingest.load.stage import STAGES, Stage, StagedTable

Progress = Callable[[float, str], None]  # told: the share that is done, and what is being done
UNEXPECTED = "a fault that this program doesn't know how to say; nothing of the file was loaded"
_LONGEST_ERROR, _LONGEST_FAULT = 1500, 300


def ingest(
    store: Store,
    paths: list[Path],
    options: Declared,
    settings: DatasetFile | None = None,
    progress: Progress = lambda *_: None,
    ending: Callable[[Cursor, LoadReport], bool] = lambda *_: True,
    asker: Asker = COMMAND_LINE,
    *,
    of_others: bool = False,
) -> LoadReport:
    """Load files into the store as one load.

    What is `of_others` (an upload, a download, a folder that others write) can't make the program read anything else.

    `ending` is called in the load's transaction, when all is in; where it returns False, all is rolled back.

    A file that can't be read, or isn't of this city, is rolled back alone and reported; the others go in. If nothing
    goes in at all, nothing is left of the load.

    Raises:
        UnreadableFile: a path isn't there or no reader knows it.
        UnknownLayer: `--layer` names none of the catalog.

    """
    if options.layer and options.layer not in store.catalog.layers:
        raise UnknownLayer(f"no layer {options.layer!r}; the catalog has {', '.join(store.catalog.layers)}")
    with TemporaryDirectory() as scratch, _rarely_collecting():
        files = find_files(paths, Path(scratch), of_others=of_others)
        return _ingest_files(store, files, options, settings, progress, ending, asker)


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """Look for cycles a hundred times less: batches of records hold none, and looking takes a sixteenth of a load."""
    before = gc.get_threshold()
    gc.set_threshold(before[0] * 100, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _ingest_files(
    store: Store,
    files: Sequence[File],
    options: Declared,
    settings: DatasetFile | None,
    progress: Progress,
    ending: Callable[[Cursor, LoadReport], bool],
    asker: Asker,
) -> LoadReport:
    report = LoadReport()
    with store.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('cim.load'))")
        report.load = begin_load(cursor, asker)
        for number, (file, tables) in enumerate(_in_turn(cursor, store, files, options, settings)):
            declared = _declared(file, options, settings)
            told = partial(_told, progress, number, len(files), file.shown)
            report.files.append(_ingest_file(connection, store, file, tables, declared, report.load or 0, told))
        if report.exit_code == 1 or not ending(cursor, report):
            connection.rollback()
            report.load = None
        else:
            text = json_text(report.as_json())
            cursor.execute("UPDATE cim.load SET report = %s::jsonb WHERE load = %s", [text, report.load])
            if report.quality:
                keep_quality(cursor, report.load or 0, report.quality)
            note(cursor, "load", load=report.load, detail={"files": [file.path for file in report.files]}, asker=asker)
    return report


def _in_turn(
    cursor: Cursor, store: Store, files: Sequence[File], options: Declared, settings: DatasetFile | None
) -> Iterator[tuple[File, Iterator[Table]]]:
    """Yield files with their tables, rasters first and without: when they are in, it is known what others stand on."""
    kept_whole = [file for file in files if (reader := reader_of(file.path)) and reader.kind == "raster"]
    yield from ((file, iter(())) for file in kept_whole)
    others = files[len(kept_whole) :]
    # what is public stands on public ground alone: its heights are seen by everybody
    ground = {public: ground_of(cursor, store, public_only=public) for public in (True, False)}
    sound = [file for file in others if not file.fault]
    said = [_declared(file, options, settings) for file in sound]
    jobs = [
        Job(
            path=file.path,
            shown=file.shown,
            declared=declared,
            catalog=store.catalog,
            city=store.city,
            settings=store.settings,
            ground=ground[declared.public is not False],
            root=file.root,
        )
        for file, declared in zip(sound, said, strict=True)
    ]
    tables = opened(jobs, store.settings)
    yield from ((file, iter(()) if file.fault else next(tables)) for file in others)


def _declared(file: File, options: Declared, settings: DatasetFile | None) -> Declared:
    return declared_for(file.path, file.beside, options, settings, root=file.beside_root)


def _told(progress: Progress, number: int, count: int, name: str, share: float, read: int) -> None:
    """Tell how far a file is, as a part of all files."""
    progress((number + share) / count, f"{Path(name).name}: {read:,}" if read else Path(name).name)


def _ingest_file(
    connection: Connection,
    store: Store,
    file: File,
    tables: Iterator[Table],
    declared: Declared,
    load: int,
    told: Callable[[float, int], None],
) -> FileReport:
    """Load one file in a savepoint of its own."""
    path = file.path
    report = FileReport(file.shown, told=told)
    told(0.0, 0)
    if file.fault:
        report.error = file.fault
        return report
    started = time.perf_counter()
    try:
        with connection.transaction(), connection.cursor() as cursor:
            _load(cursor, store, path, tables, declared, load, report)
    except CimError as error:
        report = FileReport(
            file.shown,
            error=_shortened(str(error).replace(str(path), file.shown)),
            layers=report.layers,
            crs=report.crs,
            extent=report.extent,
        )
    except LostConnection:
        raise
    except Exception as fault:  # noqa: BLE001 - one file never takes the others with it; what it was is in the log
        traceback.print_exc()
        said = f"{type(fault).__name__}: {fault}"[:_LONGEST_FAULT]
        report = FileReport(file.shown, error=f"{file.shown}: {UNEXPECTED} ({said})", layers=report.layers)
    report.seconds = time.perf_counter() - started
    return report


def _load(
    cursor: Cursor,
    store: Store,
    path: Path,
    tables: Iterator[Table],
    declared: Declared,
    load: int,
    report: FileReport,
) -> None:
    """Load a file that is kept as one, or its tables.

    Raises:
        NothingToLoad: no record is in it.

    """
    reader = reader_of(path)
    if reader and reader.whole and path.stat().st_size:
        report.source = note_source(cursor, load, path, report.path)
        reader.load(cursor, store, path, declared, load, report)
        return
    for table in tables:
        report.source = note_source(cursor, load, path, report.path, table.name)
        _load_table(cursor, table, StagedTable(store, table.header, declared, load, table.where, report))
    if report.read == 0 and not report.layers:
        raise NothingToLoad(f"{path}: no record in it")


def _shortened(said: str) -> str:
    """Return a message without what a broken file made of it: it is read by people."""
    return said if len(said) <= _LONGEST_ERROR else f"{said[:_LONGEST_ERROR]} …"


def _load_table(cursor: Cursor, table: Table, staged: StagedTable) -> None:
    report = staged.report
    for warning in table.header.warnings:
        report.warn(warning)
    stages: dict[str, Stage] = {}
    with closed_after(iter(table.batches)) as fresh, closed_after(ahead(fresh)) as batches:
        for batch in batches:  # the next ones are prepared while the database takes this one in
            report.absorb(batch.report)
            _keep_set_aside(cursor, staged)
            report.told(0.0, report.read)
            for layer, rows in batch.rows:
                if layer.id not in stages:
                    stages[layer.id] = STAGES[layer.kind](cursor, staged, layer)
                stages[layer.id].take(rows)
    for stage in stages.values():
        stage.merge()
    _keep_set_aside(cursor, staged)


def _keep_set_aside(cursor: Cursor, table: StagedTable) -> None:
    set_aside(cursor, table.load, table.report.path, table.store.city.srid, table.report.set_aside)
    table.report.set_aside = []
