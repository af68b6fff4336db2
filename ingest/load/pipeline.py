"""The pipeline: files → batches → checks → rows → staging → one merge. A call is one transaction, whole or absent."""

import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from cim.access.asker import COMMAND_LINE, Asker
from cim.concurrency.garbage import rarely_collecting
from cim.concurrency.prefetch import ahead
from cim.errors import CimError, NothingToLoad, UnknownLayer
from cim.loads.load import Load, note_source
from cim.loads.load import load as begin_load
from cim.loads.quality import keep_quality
from cim.loads.quarantine import set_aside
from cim.read.terrain import ground_of
from cim.store.connection import Connection, Cursor, LostConnection, Store
from ingest.delivery.declared import DatasetFile, Declared, declared_for
from ingest.delivery.report import FileReport, LoadReport
from ingest.formats.readers import reader_of
from ingest.load.destinations import layers_of
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
    wait_s: float | None = None,
) -> LoadReport:
    """Load files into the store as one load.

    What is `of_others` (an upload, a download, a folder that others write) can't make the program read anything else.

    `ending` is called in the load's transaction, when all is in; where it returns False, all is rolled back. `wait_s`
    is how long it waits for a layer that another load is writing into; None: as long as it takes.

    A file that can't be read, or isn't of this city, is rolled back alone and reported; the others go in. If nothing
    goes in at all, nothing is left of the load.

    Raises:
        UnreadableFile: a path isn't there or no reader knows it.
        UnknownLayer: the option `layer` names none of the catalog.
        LayerBusy: another load holds one of its layers for longer.

    """
    if options.layer and options.layer not in store.catalog.layers:
        raise UnknownLayer(f"no layer {options.layer!r}; the catalog has {', '.join(store.catalog.layers)}")
    with TemporaryDirectory() as scratch, rarely_collecting():
        files = find_files(paths, Path(scratch), of_others=of_others)
        layers = {layer for file in files for layer in layers_of(store, file, _declared(file, options, settings))}
        while True:
            try:
                return _ingest_files(store, files, layers, options, settings, progress, ending, asker, wait_s)
            except UnforeseenLayer as unforeseen:  # nothing of it stays: it begins again, and holds that layer too
                layers.add(unforeseen.layer)


class UnforeseenLayer(Exception):
    """A layer into which a record of a load goes, and which it doesn't hold."""

    def __init__(self, layer: str) -> None:
        super().__init__(layer)
        self.layer = layer


def _declared(file: File, options: Declared, settings: DatasetFile | None) -> Declared:
    return declared_for(file.path, file.beside, options, settings, root=file.beside_root)


def _ingest_files(
    store: Store,
    files: Sequence[File],
    layers: Collection[str],
    options: Declared,
    settings: DatasetFile | None,
    progress: Progress,
    ending: Callable[[Cursor, LoadReport], bool],
    asker: Asker,
    wait_s: float | None,
) -> LoadReport:
    report = LoadReport()
    with (
        store.connect() as connection,
        connection.cursor() as cursor,
        begin_load(cursor, asker, "load", layers, wait_s=wait_s) as load,
        closed_after(_in_turn(cursor, store, files, options, settings)) as in_turn,
    ):
        report.load = load.number
        for number, (file, tables) in enumerate(in_turn):
            declared = _declared(file, options, settings)
            told = partial(_told, progress, number, len(files), file.shown)
            report.files.append(_ingest_file(connection, store, file, tables, declared, load, told))
        if report.exit_code == 1 or not ending(cursor, report):
            load.give_up()
            report.load = None
            return report
        load.report, load.detail = report.as_json(), {"files": [file.path for file in report.files]}
        load.datasets = [said for file in report.files for said in file.datasets]
        if report.quality:
            keep_quality(cursor, load.number, report.quality)
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


def _told(progress: Progress, number: int, count: int, name: str, share: float, read: int) -> None:
    """Tell how far a file is, as a part of all files."""
    progress((number + share) / count, f"{Path(name).name}: {read:,}" if read else Path(name).name)


def _ingest_file(
    connection: Connection,
    store: Store,
    file: File,
    tables: Iterator[Table],
    declared: Declared,
    load: Load,
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
            setting=error.setting,
            layers=report.layers,
            crs=report.crs,
            extent=report.extent,
        )
    except (LostConnection, UnforeseenLayer):
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
    load: Load,
    report: FileReport,
) -> None:
    """Load a file that is kept as one, or its tables.

    Raises:
        NothingToLoad: no record is in it.

    """
    reader = reader_of(path)
    if reader and reader.whole and path.stat().st_size:
        report.source = note_source(cursor, load.number, path, report.path)
        reader.load(cursor, store, path, declared, load.number, report)
        return
    for table in tables:
        report.source = note_source(cursor, load.number, path, report.path, table.name)
        staged = StagedTable(store, table.header, declared, load.number, table.where, report)
        _load_table(cursor, table, staged, load.layers)
    if report.read == 0 and not report.layers:
        raise NothingToLoad(f"{path}: no record in it")


def _shortened(said: str) -> str:
    """Return a message without what a broken file made of it: it is read by people."""
    return said if len(said) <= _LONGEST_ERROR else f"{said[:_LONGEST_ERROR]} …"


def _load_table(cursor: Cursor, table: Table, staged: StagedTable, layers: Collection[str]) -> None:
    """Load a table of a file into some of the layers that the load holds.

    Raises:
        UnforeseenLayer: a record goes into another one.

    """
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
                if layer.id not in layers:
                    raise UnforeseenLayer(layer.id)
                if layer.id not in stages:
                    stages[layer.id] = STAGES[layer.kind](cursor, staged, layer)
                stages[layer.id].take(rows)
    for stage in stages.values():
        stage.merge()
    _keep_set_aside(cursor, staged)


def _keep_set_aside(cursor: Cursor, table: StagedTable) -> None:
    set_aside(cursor, table.load, table.report.path, table.store.city.srid, table.report.set_aside)
    table.report.set_aside = []
