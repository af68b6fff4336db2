"""Tables of text (CSV): every value as it is written, so that 00731 stays an id; points where columns give places."""

import codecs
import csv
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import shapely

from cim.errors import UndecidableEncoding, UnreadableFile
from cim.features import BATCH_SIZE, Features, Header, ReadOptions, Refusal, Source
from cim.messages import say

SEPARATORS = ",;\t|"
# columns that give a place, x (or longitude), y (or latitude), height
X_NAMES = ("lon", "longitude", "lng", "x", "east", "easting", "经度", "东坐标")
Y_NAMES = ("lat", "latitude", "y", "north", "northing", "纬度", "北坐标")
Z_NAMES = ("z", "h", "height", "elevation", "高程")
_CHUNK = 1 << 20


def read(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Read a table.

    Raises:
        UnreadableFile: it has no row of names.
        UndecidableEncoding: it is neither UTF-8 nor GBK, and no option says what it is.

    """
    encoding = options.encoding or encoding_of(path)
    names, separator = _head(path, encoding)
    place = _place_columns(names)
    warnings = (say("read-gbk"),) if encoding == "gb18030" and not options.encoding else ()
    header = Header(layer_hint=path.stem, warnings=warnings, spatial=place is not None)
    yield Source(header, _batches(path, encoding, names, separator, place))


def encoding_of(path: Path) -> str:
    """Return UTF-16 where its mark stands first, UTF-8 where the whole file is, else GB 18030 where the whole file is.

    Raises:
        UndecidableEncoding: it is neither.

    """
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):  # "Unicode text" of spreadsheets
            return "utf-16"
    for encoding in ("utf-8-sig", "gb18030"):
        decoder = codecs.getincrementaldecoder(encoding)()
        try:
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    decoder.decode(chunk)
                decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            continue
        return encoding
    raise UndecidableEncoding(say("nothing-tells-encoding", file=path))


def _head(path: Path, encoding: str) -> tuple[list[str], str]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            first = file.readline()
            separator = max(SEPARATORS, key=first.count)
            file.seek(0)
            names = [name.strip() for name in next(csv.reader(file, delimiter=separator), [])]
    except (LookupError, UnicodeDecodeError) as fault:
        raise UndecidableEncoding(say("not-readable", file=path, encoding=encoding, reason=fault)) from fault
    except csv.Error as fault:
        raise UnreadableFile(say("not-table", file=path, reason=fault)) from fault
    if not any(names) or len(set(names)) < len(names):
        raise UnreadableFile(say("first-row-must-name-each", file=path, first=first.strip()[:80]))
    return names, separator


def _place_columns(names: list[str]) -> tuple[int, int, int | None] | None:
    folded = [name.casefold() for name in names]

    def position(candidates: tuple[str, ...]) -> int | None:
        return next((folded.index(name) for name in candidates if name in folded), None)

    x, y = position(X_NAMES), position(Y_NAMES)
    return None if x is None or y is None else (x, y, position(Z_NAMES))


def _batches(
    path: Path, encoding: str, names: list[str], separator: str, place: tuple[int, int, int | None] | None
) -> Iterator[Features]:
    try:
        with path.open(encoding=encoding, newline="") as file:
            rows = _rows(file, separator)
            next(rows, None)
            while batch := list(islice(rows, BATCH_SIZE)):
                yield _features(batch, names, place)
    except (UnicodeDecodeError, csv.Error) as fault:
        raise UnreadableFile(say("file-cannot-be-read", file=path, reason=fault)) from fault


def _rows(file: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(file, delimiter=separator)
    for row in reader:
        if row:
            yield reader.line_num, row


def _features(
    batch: list[tuple[int, list[str]]], names: list[str], place: tuple[int, int, int | None] | None
) -> Features:
    refused = tuple(
        Refusal(f"line {line}", say("row-of-other-length", count=len(row), columns=len(names)), {"line": ",".join(row)})
        for line, row in batch
        if len(row) != len(names)
    )
    rows = [row for _, row in batch if len(row) == len(names)]
    geometry = np.full(len(rows), None, object)
    skipped: frozenset[int] = frozenset()
    if place is not None:
        skipped = frozenset(p for p in place if p is not None)
        geometry = _points(rows, place)
    attribute_columns = [(k, name) for k, name in enumerate(names) if k not in skipped]
    attributes: list[Mapping[str, Any]] = [{name: row[k] for k, name in attribute_columns} for row in rows]
    return Features(
        ids=[None] * len(rows),
        attributes=[dict(a) for a in attributes],
        geometry=geometry,
        object_class=[None] * len(rows),
        parent_id=[None] * len(rows),
        refused=refused,
        places=[f"line {line}" for line, row in batch if len(row) == len(names)],
    )


def _points(rows: list[list[str]], place: tuple[int, int, int | None]) -> Any:
    columns = [[_number(row[k]) for row in rows] for k in place if k is not None]
    if len(columns) == 3 and np.isnan(columns[2]).all():
        columns = columns[:2]
    return shapely.points(*(np.array(column) for column in columns))


def _number(text: str) -> float:
    try:
        return float(text.replace(",", "."))
    except ValueError:
        return float("nan")
