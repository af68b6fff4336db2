"""Binary COPY: Python values → the bytes of PostgreSQL's wire format, one encoder a SQL type.

psycopg's own dumpers take longer than the rest of a load; these are a few hundred nanoseconds a value.
Format: https://www.postgresql.org/docs/15/sql-copy.html, "Binary Format"; arrays as `array_send`, jsonb version 1.
"""

import json
import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import repeat
from typing import Any

import psycopg

from cim.store.schema import Column

_INT8 = struct.Struct("!q").pack
_INT4 = struct.Struct("!i").pack
_INT2 = struct.Struct("!h").pack
_FLOAT8 = struct.Struct("!d").pack
_ARRAY = struct.Struct("!iiIii").pack  # dimensions, has nulls, element type, length, lower bound
_TEXT_OID, _BYTEA_OID = 25, 17
_HEADER = b"PGCOPY\n\xff\r\n\0" + _INT4(0) + _INT4(0)
_END = _INT2(-1)
_NULL = _INT4(-1)
_SHORT = 4096
_LENGTHS = [_INT4(length) for length in range(_SHORT)]
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def _array(element_type: int, values: Sequence[bytes]) -> bytes:
    if not values:
        return struct.pack("!iiI", 0, 0, element_type)
    if len(values) == 1:
        return _ARRAY(1, 0, element_type, 1, 1) + _INT4(len(values[0])) + values[0]
    parts = [_ARRAY(1, 0, element_type, len(values), 1)]
    for value in values:
        parts += (_INT4(len(value)), value)
    return b"".join(parts)


def _microseconds(moment: datetime) -> bytes:
    delta = moment - _EPOCH  # one without an offset is an error: whoever reads it knows by which clock it is
    return _INT8((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds)


def json_text(value: Any) -> str:
    """Return a value as JSON without zero characters, which PostgreSQL doesn't take."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return json_text(_without_zeros(value)) if "\\u0000" in text and value != _without_zeros(value) else text


def _without_zeros(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {_without_zeros(key): _without_zeros(inner) for key, inner in value.items()}
    return [_without_zeros(inner) for inner in value] if isinstance(value, list | tuple) else value


ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "text": lambda text: text.encode("utf-8", "replace"),  # half a surrogate pair is no character
    "bytea": bytes,
    "geometry": bytes,  # EWKB
    "bigint": _INT8,
    "smallint": _INT2,
    "double precision": _FLOAT8,
    "boolean": lambda value: b"\x01" if value else b"\x00",
    "date": lambda day: _INT4((day - date(2000, 1, 1)).days),
    "timestamptz": _microseconds,
    "jsonb": lambda value: b"\x01" + json_text(value).encode("utf-8", "replace"),
    "text[]": lambda values: _array(_TEXT_OID, [v.encode() for v in values]),
    "bytea[]": lambda values: _array(_BYTEA_OID, values),
}


def copy_rows(cursor: psycopg.Cursor[Any], target: str, columns: Sequence[Column], rows: Iterable[bytes]) -> None:
    """Copy rows into a table.

    Args:
        cursor: in the transaction that owns the load.
        target: quoted name of the table.
        columns: its columns, in the order of the rows' values.
        rows: as `wire_rows` makes them.

    """
    names = ", ".join(f'"{c.name}"' for c in columns)
    with cursor.copy(f"COPY {target} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(_HEADER + b"".join(rows) + _END)


def wire_rows(columns: Sequence[Sequence[bytes | None]]) -> list[bytes]:
    """Return rows as the wire has them, of columns of encoded values."""
    cells: list[Iterable[bytes]] = [repeat(_INT2(len(columns)), len(columns[0]))]
    for column in columns:
        if empty(column):
            cells.append(repeat(_NULL))
        else:
            lengths = [
                _NULL if value is None else _LENGTHS[size] if (size := len(value)) < _SHORT else _INT4(size)
                for value in column
            ]
            cells += (lengths, [value or b"" for value in column])
    return [b"".join(row) for row in zip(*cells, strict=False)]


def encoded(column: Column, values: Sequence[Any]) -> Sequence[bytes | None]:
    """Return the values of a column as the wire has them."""
    if empty(values):
        return values
    encode = ENCODERS[column.sql_type]
    return [None if value is None else encode(value) for value in values]


def empty(values: Sequence[Any]) -> bool:
    """Return whether a column holds nothing, as most of a table do."""
    return isinstance(values, list) and values[:1] == [None] and values.count(None) == len(values)
