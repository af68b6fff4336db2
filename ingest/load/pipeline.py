"""The pipeline: files → batches → checks → rows → staging → one merge. A call is one transaction, whole or absent."""

import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import replace
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
from cim.messages import each_text, say
from cim.read.terrain import ground_of
from cim.store.connection import Connection, Cursor, LostConnection, Store
from ingest.delivery.declared import DatasetFile, Declared, declared_for
from ingest.delivery.report import FileReport, LoadReport
from ingest.formats.contract import Incoming
from ingest.load.destinations import layers_of
from ingest.load.discover import File, find_files
from ingest.load.opened import Table, closed_after, opened
from ingest.load.stage import STAGES, Stage

Progress = Callable[[float, str], None]  # told: the share that is done, and what is being done
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
        raise UnknownLayer(
            say("no-such-layer-to-load-into", layer=options.layer, layers=", ".join(store.catalog.layers))
        )
    with TemporaryDirectory() as scratch, rarely_collecting():
        discovered = find_files(paths, Path(scratch), of_others=of_others)
        files = [(file, _declared(file, options, settings)) for file in discovered]
        layers = {layer for file, declared in files for layer in layers_of(store, file, declared)}
        while True:
            try:
                return _ingest_files(store, files, layers, progress, ending, asker, wait_s)
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
    files: Sequence[tuple[File, Declared]],
    layers: Collection[str],
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
        closed_after(_in_turn(cursor, store, _incoming(store, files, load, progress))) as in_turn,
    ):
        report.load = load.number
        for incoming, tables in in_turn:
            report.files.append(_ingest_file(connection, incoming, tables, load))
        if report.exit_code == 1 or not ending(cursor, report):
            load.give_up()
            report.load = None
            return report
        load.report, load.detail = report.as_json(), {"files": [file.path for file in report.files]}
        load.datasets = [note for file in report.files for note in file.datasets]
        if report.quality:
            keep_quality(cursor, load.number, report.quality)
    return report


def _incoming(
    store: Store, files: Sequence[tuple[File, Declared]], load: Load, progress: Progress
) -> Iterator[Incoming]:
    """Yield for each file the context that goes with it; the report of one that can't be read says why."""
    for number, (file, declared) in enumerate(files):
        report_progress = partial(_told, progress, number, len(files), file.shown)
        report = FileReport(file.shown, report_progress=report_progress, error=file.fault or None)
        yield Incoming(file.path, declared, store, load.number, report, file.reader, root=file.root)


def _in_turn(cursor: Cursor, store: Store, files: Iterable[Incoming]) -> Iterator[tuple[Incoming, Iterator[Table]]]:
    """Yield files with their tables, rasters first and without: when they are in, it is known what others stand on."""
    files = list(files)
    rasters = [incoming for incoming in files if incoming.reader and incoming.reader.kind == "raster"]
    yield from ((incoming, iter(())) for incoming in rasters)
    # what is public stands on public ground alone: its heights are seen by everybody
    ground = {public: ground_of(cursor, store, public_only=public) for public in (True, False)}
    others = [
        replace(incoming, ground=ground[incoming.declared.public is not False]) for incoming in files[len(rasters) :]
    ]
    tables = opened([incoming for incoming in others if not incoming.report.error], store.settings)
    yield from ((incoming, iter(()) if incoming.report.error else next(tables)) for incoming in others)


def _told(progress: Progress, number: int, count: int, name: str, share: float, read: int) -> None:
    """Tell how far a file is, as a part of all files."""
    progress((number + share) / count, f"{Path(name).name}: {read:,}" if read else Path(name).name)


def _ingest_file(connection: Connection, incoming: Incoming, tables: Iterator[Table], load: Load) -> FileReport:
    """Load one file in a savepoint of its own."""
    report = incoming.report
    shown = report.path
    report.report_progress(0.0, 0)
    if report.error:
        return report
    started = time.perf_counter()
    try:
        with connection.transaction(), connection.cursor() as cursor:
            _load(cursor, incoming, tables, load)
    except CimError as error:
        report = FileReport(
            shown,
            error=_as_sent(error.message, incoming.path, shown),
            setting=error.setting,
            layers=report.layers,
            crs=report.crs,
            extent=report.extent,
        )
    except (LostConnection, UnforeseenLayer):
        raise
    except Exception as fault:  # noqa: BLE001 - one file never takes the others with it; what it was is in the log
        traceback.print_exc()
        fault_text = f"{type(fault).__name__}: {fault}"[:_LONGEST_FAULT]
        report = FileReport(shown, error=say("unexpected-fault", file=shown, reason=fault_text), layers=report.layers)
    report.seconds = time.perf_counter() - started
    return report


def _load(cursor: Cursor, incoming: Incoming, tables: Iterator[Table], load: Load) -> None:
    """Load a file that is kept as one, or its tables.

    Raises:
        NothingToLoad: no record is in it.

    """
    path, reader, report = incoming.path, incoming.reader, incoming.report
    if reader and reader.whole and path.stat().st_size:
        report.source = note_source(cursor, load.number, path, report.path)
        reader.load(cursor, incoming)
        return
    for table in tables:
        report.source = note_source(cursor, load.number, path, report.path, table.name)
        _load_table(cursor, table, incoming.of_table(table.header, table.name), load.layers)
    if report.read == 0 and not report.layers:
        raise NothingToLoad(say("no-record", file=path))


def _as_sent(message: str, path: Path, shown: str) -> str:
    """Return what is said of a file, which names it as it was sent, and without what a broken one made of the text."""

    def change(text: str) -> str:
        text = text.replace(str(path), shown)
        return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]} …"

    return each_text(message, change)


def _load_table(cursor: Cursor, table: Table, incoming: Incoming, layers: Collection[str]) -> None:
    """Load a table of a file into some of the layers that the load holds.

    Raises:
        UnforeseenLayer: a record goes into another one.

    """
    report = incoming.report
    for warning in table.header.warnings:
        report.warn(warning)
    stages: dict[str, Stage] = {}
    with closed_after(iter(table.batches)) as fresh, closed_after(ahead(fresh)) as batches:
        for batch in batches:  # the next ones are prepared while the database takes this one in
            report.absorb(batch.report)
            _keep_set_aside(cursor, incoming)
            report.report_progress(0.0, report.read)
            for layer, rows in batch.rows:
                if layer.id not in layers:
                    raise UnforeseenLayer(layer.id)
                if layer.id not in stages:
                    stages[layer.id] = STAGES[layer.kind](cursor, incoming, layer)
                stages[layer.id].take(rows)
    for stage in stages.values():
        stage.merge()
    _keep_set_aside(cursor, incoming)


def _keep_set_aside(cursor: Cursor, incoming: Incoming) -> None:
    set_aside(cursor, incoming.load, incoming.report.path, incoming.srid, incoming.report.set_aside)
    incoming.report.set_aside = []
