"""Whole layers at once: PostgreSQL's binary COPY → Arrow, in batches of bounded size.

Every row comes out of PostgreSQL once, in its own binary form, and becomes columns in two compiled passes over the
bytes. Format: https://www.postgresql.org/docs/15/sql-copy.html, "Binary Format".
"""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyproj import CRS

from cim.catalog.common_columns import SHOWN, FieldType
from cim.catalog.model import Layer
from cim.read.layers import Query, conditions
from cim.store.connection import Cursor
from cim.store.schema import table

compiled: Callable[[Any], Any] = numba.njit(cache=True, nogil=True)
BATCH_BYTES = 8 << 20
_HEADER = 19  # signature, flags, length of the extension
_DAYS_1970_2000 = 10_957
_MICROSECONDS_1970_2000 = _DAYS_1970_2000 * 86_400_000_000

Bytes = NDArray[np.uint8]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class FrameColumn:
    """A column of a frame: its name, the SQL that gives it, and how its bytes become Arrow."""

    name: str
    sql: str
    kind: FieldType | str  # a field's type, or wkb


def frame_columns(layer: Layer, query: Query, srid: int) -> list[FrameColumn]:
    """Return the columns of a layer's frame: id, its fields, what every layer has, and the geometry."""
    fields = [f for f in layer.all_fields if not query.properties or f.name in query.properties]
    columns = [FrameColumn("id", "v.id", "text")]
    for f in fields:
        hidden = f.sensitive and query.public_only
        columns.append(FrameColumn(f.name, f"NULL::{_NULL[f.type]}" if hidden else f'v."{f.name}"', f.type))
    if not query.properties:
        columns += [FrameColumn(c.name, c.sql, c.type) for c in SHOWN]
    if query.geometry:
        shape = "v.geom" if query.out_srid == srid else f"ST_Transform(v.geom, {int(query.out_srid)})"
        columns.append(FrameColumn("geometry", f"ST_AsBinary({shape})", "wkb"))
    return columns


_NULL = {"text": "text", "integer": "bigint", "number": "float8", "boolean": "boolean", "date": "date",
         "timestamp": "timestamptz"}  # fmt: skip


def frame_schema(columns: Sequence[FrameColumn], crs: CRS, types: Sequence[str] = ()) -> pa.Schema:
    """Return the Arrow schema; the geometry column is described as GeoParquet 1.1 does."""
    fields = [pa.field(c.name, _ARROW[c.kind][0]) for c in columns]
    if all(c.kind != "wkb" for c in columns):
        return pa.schema(fields)
    described = {"encoding": "WKB", "geometry_types": list(types), "crs": crs.to_json_dict()}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": described}}
    return pa.schema(fields, metadata={"geo": json.dumps(geo)})


def read_batches(
    cursor: Cursor, layer: Layer, query: Query, columns: Sequence[FrameColumn]
) -> Generator[pa.RecordBatch]:
    """Yield what a query matches, at most `query.limit` rows where that isn't 0, in no order.

    Args:
        cursor: a read.
        layer: whose table.
        query: what is asked; its paging is not regarded.
        columns: of the batches.

    """
    clauses, values = conditions(layer, query)
    listed = ", ".join(f"{c.sql}" for c in columns)
    limit = f" LIMIT {int(query.limit)}" if query.limit else ""
    sql = f"SELECT {listed} FROM {table(layer)} v WHERE {' AND '.join(clauses)}{limit}"
    with closing(_copied(cursor, sql, values)) as copied:
        for rows, count in copied:
            yield _batch(rows, count, columns)


def _copied(cursor: Cursor, sql: str, values: Mapping[str, Any]) -> Generator[tuple[Bytes, int]]:
    """Yield the bytes of whole rows, some megabytes at a time, and how many rows they are."""
    rows, count, skipped = bytearray(), 0, _HEADER
    with cursor.copy(f"COPY ({sql}) TO STDOUT (FORMAT BINARY)".encode(), values) as copy:
        for row in copy:
            rows += row
            count += 1
            if len(rows) >= BATCH_BYTES:
                yield np.frombuffer(rows, np.uint8)[skipped:], count
                rows, count, skipped = bytearray(), 0, 0
    if rows:
        yield np.frombuffer(rows, np.uint8)[skipped:], count


def _batch(data: Bytes, count: int, columns: Sequence[FrameColumn]) -> pa.RecordBatch:
    starts, lengths = _fields(data, len(columns), count)
    arrays = []
    for k, column in enumerate(columns):
        arrow_type, read = _ARROW[column.kind]
        arrays.append(read(data, starts[k], lengths[k], arrow_type))
    return pa.RecordBatch.from_arrays(arrays, names=[c.name for c in columns])


@compiled
def _fields(data: Bytes, count: int, most_rows: int) -> tuple[Int, Int]:  # pragma: no cover - compiled
    """Return where each field of each row begins, (count, rows), and its length; -1 is NULL."""
    starts = np.empty((count, most_rows), np.int64)
    lengths = np.empty((count, most_rows), np.int64)
    row: Any = 0
    position: Any = 0
    while position + 2 <= data.size and row < most_rows:
        if data[position] == 255 and data[position + 1] == 255:  # the trailer
            break
        position += 2
        for k in range(count):
            length = (
                (np.int64(data[position]) << 24)
                | (np.int64(data[position + 1]) << 16)
                | (np.int64(data[position + 2]) << 8)
                | np.int64(data[position + 3])
            )
            if length >= 2147483648:
                length = np.int64(-1)
            position += 4
            starts[k, row] = position
            lengths[k, row] = length
            if length > 0:
                position += length
        row += 1
    return starts[:, :row], lengths[:, :row]


@compiled
def _gather(data: Bytes, starts: Int, lengths: Int, offsets: Int) -> Bytes:  # pragma: no cover - compiled
    out = np.empty(offsets[-1], np.uint8)
    for row in range(starts.size):
        at, to = starts[row], offsets[row]
        for k in range(lengths[row]):
            out[to + k] = data[at + k]
    return out


@compiled
def _big_endian(data: Bytes, starts: Int, lengths: Int, width: int) -> Int:  # pragma: no cover - compiled
    """Return signed integers of `width` bytes; where NULL, 0."""
    out = np.zeros(starts.size, np.int64)
    for row in range(starts.size):
        if lengths[row] != width:
            continue
        value = np.int64(0)
        for k in range(width):
            value = (value << 8) | np.int64(data[starts[row] + k])
        if width < 8 and data[starts[row]] >= 128:
            value -= np.int64(1) << (8 * width)
        out[row] = value
    return out


def _validity(lengths: Int) -> tuple[pa.Buffer | None, int]:
    null = lengths < 0
    count = int(null.sum())
    return (pa.py_buffer(np.packbits(~null, bitorder="little").tobytes()) if count else None), count


def _variable(data: Bytes, starts: Int, lengths: Int, arrow_type: pa.DataType) -> pa.Array:
    validity, nulls = _validity(lengths)
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(np.maximum(lengths, 0), out=offsets[1:])
    content = _gather(data, starts, lengths, offsets)
    buffers = [validity, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(content)]
    return pa.Array.from_buffers(arrow_type, len(lengths), buffers, nulls)


def _fixed(width: int, convert: Callable[[Int], NDArray[Any]]) -> Callable[..., pa.Array]:
    def read(data: Bytes, starts: Int, lengths: Int, arrow_type: pa.DataType) -> pa.Array:
        validity, nulls = _validity(lengths)
        content = convert(_big_endian(data, starts, lengths, width))
        return pa.Array.from_buffers(arrow_type, len(lengths), [validity, pa.py_buffer(content)], nulls)

    return read


def _bits(values: Int) -> NDArray[np.uint8]:
    return np.packbits(values != 0, bitorder="little")


# a field's type → its Arrow type, and how PostgreSQL's bytes become it; times are microseconds since 2000
_ARROW: Mapping[str, tuple[pa.DataType, Callable[..., pa.Array]]] = {
    "text": (pa.string(), _variable),
    "wkb": (pa.binary(), _variable),
    "integer": (pa.int64(), _fixed(8, lambda v: v)),
    "number": (pa.float64(), _fixed(8, lambda v: v.view(np.float64))),
    "boolean": (pa.bool_(), _fixed(1, _bits)),
    "date": (pa.date32(), _fixed(4, lambda v: (v + _DAYS_1970_2000).astype(np.int32))),
    "timestamp": (pa.timestamp("us", "UTC"), _fixed(8, lambda v: v + _MICROSECONDS_1970_2000)),
}
