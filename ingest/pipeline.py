"""The pipeline: files → batches → checks → rows → staging → one merge. A call is one transaction, whole or absent."""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from cim.audit import note
from cim.catalog.model import Layer
from cim.errors import CimError, NothingToLoad, UnknownLayer, UnreadableFile
from cim.model import Features, ReadOptions, Source, take
from cim.store import Connection, Cursor, Store
from ingest.dataset import DatasetFile, Declared, declared_for
from ingest.place import place, placement
from ingest.readers import Reader, find_files, reader_of
from ingest.records import GroundHeights
from ingest.report import FileReport, LoadReport
from ingest.stage import STAGES, Stage, Table

Progress = Callable[[str], None]


def ingest(
    store: Store,
    paths: list[Path],
    options: Declared,
    settings: DatasetFile | None = None,
    progress: Progress = lambda _: None,
    ending: Callable[[Cursor, LoadReport], bool] = lambda *_: True,
) -> LoadReport:
    """Load files into the store as one load.

    `ending` is called in the load's transaction, when all is in; where it returns False, all is rolled back.

    A file that can't be read, or isn't of this city, is rolled back alone and reported; the others go in. If nothing
    goes in at all, nothing is left of the load.

    Raises:
        UnreadableFile: a path isn't there or no reader knows it.
        UnknownLayer: `--layer` names none of the catalog.

    """
    files = find_files(paths)
    if options.layer and options.layer not in store.catalog.layers:
        raise UnknownLayer(f"no layer {options.layer!r}; the catalog has {', '.join(store.catalog.layers)}")
    report = LoadReport()
    with store.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('cim.load'))")
        row = cursor.execute("INSERT INTO cim.load DEFAULT VALUES RETURNING load").fetchone()
        report.load = row[0] if row else None
        for path in files:
            progress(str(path))
            declared = declared_for(path, options, settings)
            report.files.append(_ingest_file(connection, store, path, declared, report.load or 0))
        if report.exit_code == 1 or not ending(cursor, report):
            connection.rollback()
            report.load = None
        else:
            text = json.dumps(report.as_json(), ensure_ascii=False)
            cursor.execute("UPDATE cim.load SET report = %s::jsonb WHERE load = %s", [text, report.load])
            note(cursor, "load", load=report.load, detail={"files": [file.path for file in report.files]})
    return report


def _ingest_file(connection: Connection, store: Store, path: Path, declared: Declared, load: int) -> FileReport:
    """Load one file in a savepoint of its own."""
    report = FileReport(str(path))
    started = time.perf_counter()
    reader = reader_of(path)
    try:
        with connection.transaction(), connection.cursor() as cursor:
            if reader is None or path.stat().st_size == 0:
                raise UnreadableFile(f"{path}: a file of zero bytes")
            _load_tables(cursor, store, reader, path, declared, load, report)
            if report.read == 0 and not report.layers:
                raise NothingToLoad(f"{path}: no record in it")
    except CimError as error:
        report = FileReport(str(path), error=str(error), layers=report.layers, crs=report.crs, extent=report.extent)
    report.seconds = time.perf_counter() - started
    return report


def _load_tables(
    cursor: Cursor, store: Store, reader: Reader, path: Path, declared: Declared, load: int, report: FileReport
) -> None:
    if reader.kind == "raster":
        from ingest.raster import load_raster

        load_raster(cursor, store, path, declared, load, report)
        return
    sources = list(reader.read(path, ReadOptions(encoding=declared.encoding)))
    for source in sources:
        where = str(path) if len(sources) == 1 else f"{path}, table {source.header.layer_hint}"
        _load_source(cursor, Table(store, source.header, declared, load, where, report), source)


def _load_source(cursor: Cursor, table: Table, source: Source) -> None:
    header = table.header
    where_it_lies = placement(header, table.declared, table.store.city, table.where) if header.spatial else None
    for warning in table.header.warnings:
        table.report.warn(warning)
    stages: dict[str, Stage] = {}
    ground = _ground(cursor, table.store)
    for batch in source.batches:
        table.report.read += len(batch) + len(batch.refused)
        for refusal in batch.refused:
            table.report.refuse(refusal.id, refusal.reason)
        for what, ids in batch.warnings.items():
            table.report.warn(what, ids)
        placed = place(batch, where_it_lies, table.report) if where_it_lies else batch
        for layer, features in _by_layer(placed, table):
            if layer.id not in stages:
                stages[layer.id] = STAGES[layer.kind](cursor, table, layer, ground)
            stages[layer.id].add(features)
    for stage in stages.values():
        stage.merge()


def _ground(cursor: Cursor, store: Store) -> GroundHeights:
    from cim.ground import ground_heights

    layer = store.catalog.with_role("ground")
    return ground_heights(cursor, store, layer) if layer else lambda x, y: np.full(np.shape(x), np.nan)  # noqa: ARG005


def _by_layer(features: Features, table: Table) -> Iterable[tuple[Layer, Features]]:
    """Split a batch by the layer of its records."""
    layers = [_layer_of(object_class, table) for object_class in features.object_class]
    ids = np.array([layer.id for layer in layers], object)
    for name in dict.fromkeys(ids):
        yield table.store.catalog.layers[name], take(features, ids == name)


def _layer_of(object_class: str | None, table: Table) -> Layer:
    """Find the layer of a record: `--layer`, else its object class, else the name of the table."""
    catalog = table.store.catalog
    if table.declared.layer:
        return _table_layer(table, table.declared.layer)
    if object_class:
        layer = catalog.layer_by_object_class.get(object_class) or catalog.with_role("rest")
        if layer:
            return layer
    return layer_by_name((table.header.layer_hint, Path(table.report.path).stem), table)


def layer_by_name(names: Iterable[str], table: Table) -> Layer:
    """Find a layer by the name of a table, else by the stem of its file: whole, else by its first words (`road_2023`).

    Raises:
        UnknownLayer: nothing tells.

    """
    known = table.store.catalog.layer_by_alias
    for name in names:
        folded = name.casefold()
        words = folded.replace("-", "_").replace(" ", "_").replace(".", "_").split("_")
        for spelling in (folded, *("_".join(words[:length]) for length in range(len(words), 0, -1))):
            if spelling in known:
                return known[spelling]
    raise UnknownLayer(
        f"{table.where}: nothing tells its layer: --layer, one of {', '.join(table.store.catalog.layers)}"
    )


def _table_layer(table: Table, name: str) -> Layer:
    layer = table.store.catalog.layers.get(name)
    if layer is None or layer.kind not in STAGES:
        raise UnknownLayer(f"{table.where}: {name} isn't a layer of records")
    return layer
