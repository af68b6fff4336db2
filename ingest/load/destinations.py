"""Into which layers a file may go, told before it is read: those a load holds while it writes."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from cim.catalog.model import Catalog
from cim.errors import UnknownLayer
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.formats.contract import Reader
from ingest.formats.coverages.sheet import sheet_layer
from ingest.load.discover import File

PIECE, LONGEST_WORD = 16_000_000, 100  # bytes


def layers_of(store: Store, file: File, declared: Declared) -> set[str]:
    """Return the ids of the layers into which a file may go: by what is declared, its name, the classes of its format.

    A reader of another package may go beyond them; then the load begins again with what it missed.
    """
    reader = file.reader
    if file.fault or reader is None:
        return set()
    if reader.whole:
        with suppress(UnknownLayer):
            return {sheet_layer(file.path, declared, store, reader.kind).id}
        return set()
    if declared.layer:
        return {declared.layer}
    catalog = store.catalog
    named = {layer.id for name in _names(file) if (layer := catalog.named_by((name, Path(file.shown).stem)))}
    return named | set(declared.layers.values()) | _of_classes(catalog, reader, file.path)


def _names(file: File) -> Iterator[str]:
    """Yield what the tables of a file are called, by which they find their layer."""
    yield file.path.name.split(".")[0]
    yield file.path.stem
    if file.path.suffix.lower() == ".gpkg":
        yield from _tables(file.path)


def _tables(path: Path) -> list[str]:
    """Return the tables of a GeoPackage; GDAL would open what its reference systems name, which is checked later."""
    names: list[str] = []
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        names += [str(name) for (name,) in database.execute("SELECT table_name FROM gpkg_contents")]
    return names  # of a file that isn't one none: it is told where the file is read


def _of_classes(catalog: Catalog, reader: Reader, path: Path) -> set[str]:
    """Return the layers of the classes that a file may hold, and the one that takes all others."""
    if not reader.classes:
        return set()
    classes = {name for name in catalog.layer_by_object_class if re.fullmatch(reader.classes, name)}
    if reader.spelled:
        classes = _words_in(path, classes)
    rest = catalog.with_role("rest")
    return {catalog.layer_by_object_class[name].id for name in classes} | ({rest.id} if rest else set())


def _words_in(path: Path, words: set[str]) -> set[str]:
    """Return which of some words stand in a file; where all do, not much of it is read."""
    missing = {word: word.encode() for word in words}
    before = b""
    with path.open("rb") as file:
        while missing and (piece := file.read(PIECE)):
            text = before + piece
            missing = {word: spelled for word, spelled in missing.items() if spelled not in text}
            before = piece[-LONGEST_WORD:]
    return words - missing.keys()
