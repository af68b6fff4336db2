"""Layer-shaped reads: what the tilers and the services ask of a layer's table, at a moment of city time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cim.catalog.common_columns import SHOWN, CommonColumn
from cim.catalog.model import Layer
from cim.read.filters import Condition
from cim.store.connection import Cursor
from cim.store.kinds import kind_of
from cim.store.schema import table


def current(at: str = "%(at)s") -> str:
    """Return the condition for what holds at a moment of city time, as we know it now."""
    return f"upper_inf(v.recorded) AND v.valid @> coalesce({at}::timestamptz, now())"


def provenance(cursor: Cursor, layer: Layer, identifier: str, at: datetime | None) -> dict[str, Any] | None:
    """Return where an object's content comes from, or None if there is no such object at that moment."""
    record = "NULL::text" if layer.observes else "v.record"
    cursor.execute(
        f"""SELECT v.dataset, v.surveyed::text, d.licence, v.load, l.started, lower(v.valid),
                   upper(v.valid), v.flags, regexp_replace(s.path, '^.*/', ''), s.name, s.sha256,
                   coalesce({record}, v.id), l.operator
            FROM {table(layer)} v LEFT JOIN cim.dataset d ON d.name = v.dataset LEFT JOIN cim.load l ON l.load = v.load
                 LEFT JOIN cim.source s ON s.source = v.source
            WHERE v.id = %(id)s AND {current()}""",
        {"id": identifier, "at": at},
    )
    row = cursor.fetchone()
    names = ("dataset", "surveyed", "licence", "load", "loaded", "valid_from", "valid_until", "flags")
    of_source = ("file", "file_table", "file_sha256", "record", "operator")
    return dict(zip((*names, *of_source), row, strict=True)) if row else None


def read_marks(
    cursor: Cursor, layer: Layer, label: str | None, at: datetime | None, limit: int = 5000
) -> list[tuple[str, float, float, str | None]]:
    """Return (id, x, y, text) of where signs and labels stand, in the city's CRS.

    Lines of one name, such as a street cut at its crossings, get one label, on the longest.
    """
    text = f'v."{label}"' if label else "NULL::text"
    place = "ST_LineInterpolatePoint(ST_GeometryN(v.geom, 1), 0.5)" if layer.geometry == "MultiLineString" else None
    place = place or ("v.geom" if layer.geometry == "Point" else "ST_PointOnSurface(v.geom)")
    one_a_name = layer.geometry == "MultiLineString" and label
    distinct = f"DISTINCT ON ({text})" if one_a_name else ""
    order = f"{text}, ST_Length(v.geom) DESC" if one_a_name else "v.fid"
    cursor.execute(
        f"""SELECT id, ST_X(place), ST_Y(place), text FROM (
              SELECT {distinct} v.id, {place} AS place, {text}::text AS text FROM {table(layer)} v
              WHERE {current()} ORDER BY {order} LIMIT %(limit)s) marks WHERE place IS NOT NULL""",
        {"at": at, "limit": limit},
    )
    return cursor.fetchall()


@dataclass(frozen=True)
class Query:
    """What a page of features is asked with; every value is bound."""

    at: tuple[datetime | None, datetime | None] | datetime | None = None  # moment, interval, or now
    recorded_at: datetime | None = None  # as it was known then; None: as it is known now
    equals: Mapping[str, str] = field(default_factory=dict)  # field or id → value
    where: Condition = field(default_factory=Condition)  # a filter
    after: str | None = None  # only ids that follow this one
    offset: int = 0
    limit: int = 100
    sort: Sequence[tuple[str, bool]] = ()  # field, descending
    properties: Sequence[str] = ()  # only these fields; none: all
    geometry: bool = True
    out_srid: int = 4326
    flip: bool = False  # north first
    public_only: bool = False


@dataclass(frozen=True)
class Page:
    """A page of features as PostGIS wrote it: the text of a JSON array's inside, how many, and the last id."""

    text: str
    count: int
    last_id: str | None
    more: bool


def features(cursor: Cursor, layer: Layer, srid: int, query: Query) -> Page:
    """Return a page of GeoJSON features, made by PostGIS."""
    clauses, values = conditions(layer, query)
    if query.after is not None:
        clauses.append("v.id > %(after)s")
        values["after"] = query.after
    order = [f'v."{name}" {"DESC" if down else "ASC"} NULLS LAST' for name, down in query.sort]
    one_an_id = "DISTINCT ON (v.id)" if isinstance(query.at, tuple) else ""
    ordering = ", ".join(["v.id", "lower(v.valid) DESC NULLS LAST"] if one_an_id else [*order, "v.id"])
    cursor.execute(
        f"""SELECT string_agg(f, ',' ORDER BY n) FILTER (WHERE n <= %(limit)s), count(*),
                   max(id) FILTER (WHERE n <= %(limit)s) FROM (
              SELECT row_number() OVER () AS n, id, {_feature(layer, srid, query)} AS f FROM (
                SELECT {one_an_id} v.* FROM {table(layer)} v WHERE {" AND ".join(clauses)}
                ORDER BY {ordering} OFFSET %(offset)s LIMIT %(limit)s + 1) v) page""",
        values | {"offset": query.offset, "limit": query.limit},
    )
    row = cursor.fetchone()
    text, count, last = row if row else (None, 0, None)
    return Page(text or "", min(count, query.limit), last, more=count > query.limit)


def row_estimate(cursor: Cursor, layer: Layer) -> float:
    """Return how many versions a layer holds, as PostgreSQL last estimated them."""
    row = cursor.execute(f"SELECT reltuples FROM pg_class WHERE oid = '{table(layer)}'::regclass").fetchone()
    return float(row[0]) if row else 0.0


def count(cursor: Cursor, layer: Layer, query: Query) -> int:
    """Return how many features a query matches, paging aside."""
    clauses, values = conditions(layer, query)
    counted = "DISTINCT v.id" if isinstance(query.at, tuple) else "*"
    cursor.execute(f"SELECT count({counted}) FROM {table(layer)} v WHERE {' AND '.join(clauses)}", values)
    row = cursor.fetchone()
    return int(row[0]) if row else 0


def conditions(layer: Layer, query: Query) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions of a query over the alias `v`, and the values that they bind."""
    values: dict[str, Any] = {}
    clauses = ["upper_inf(v.recorded)"]
    if query.recorded_at is not None:
        clauses = ["v.recorded @> %(recorded_at)s::timestamptz"]
        values["recorded_at"] = query.recorded_at
    if isinstance(query.at, tuple):
        clauses.append("v.valid && tstzrange(%(from)s, %(until)s, '[]')")
        values |= {"from": query.at[0], "until": query.at[1]}
    elif query.at is not None or not kind_of(layer).instants:
        clauses.append("v.valid @> coalesce(%(at)s::timestamptz, now())")
        values["at"] = query.at
    if query.where.sql != "true":
        clauses.append(query.where.sql)
        values |= query.where.values
    for number, (name, value) in enumerate(query.equals.items()):
        clauses.append(f'v."{name}"::text = %(equals_{number})s')
        values[f"equals_{number}"] = value
    return clauses, values


def _feature(layer: Layer, srid: int, query: Query) -> str:
    """Return the SQL expression of one GeoJSON feature's text."""
    geometry = "'null'"
    if query.geometry:
        shape = "v.geom" if query.out_srid == srid else f"ST_Transform(v.geom, {int(query.out_srid)})"
        shape = f"ST_FlipCoordinates({shape})" if query.flip else shape
        digits = 9 if query.out_srid == WGS84_SRID else 4
        geometry = f"coalesce(ST_AsGeoJSON({shape}, {digits}), 'null')"  # a value over time has no place of its own
    wanted = [f for f in layer.all_fields if not query.properties or f.name in query.properties]
    hidden = {f.name for f in wanted if f.sensitive and query.public_only}
    parts = [f"""'"{f.name}":' || {"'null'" if f.name in hidden else _json_value(f.name, f.type)}""" for f in wanted]
    if not query.properties:
        parts += [f"""'"{c.name}":' || {_json(c)}""" for c in SHOWN]
    separated = " || ',' || ".join(parts)
    return (
        """'{"type":"Feature","id":' || to_json(v.id)::text || ',"geometry":' || """
        f"""{geometry} || ',"properties":{{' || {separated or "''"} || '}}}}'"""
    )


WGS84_SRID = 4326


def _json(column: CommonColumn) -> str:
    """Return the SQL expression of a common column's JSON text; what is left over of a source is an object."""
    written = column.sql if column.name == "extra" or column.type == "integer" else f"to_json({column.sql})::text"
    return f"coalesce(({written})::text, 'null')"


def _json_value(name: str, kind: str) -> str:
    """Return the SQL expression of a value's JSON text; a number always has a decimal point.

    QGIS and GDAL take field types from the first ten rows: 57 would make the field an Integer.
    """
    column = f'v."{name}"'
    if kind == "number":
        whole = f"{column} = floor({column}) AND abs({column}) < 1e15"
        return (
            f"CASE WHEN {column} IS NULL THEN 'null' WHEN {whole} THEN {column}::bigint::text || '.0' "
            f"ELSE {column}::text END"
        )
    if kind == "integer":
        return f"coalesce({column}::text, 'null')"
    return f"coalesce(to_json({column})::text, 'null')"
