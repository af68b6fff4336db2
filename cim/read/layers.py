"""Layer-shaped reads: what the tilers and the services ask of a layer's table, at a moment of city time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from cim.catalog.common_columns import SHOWN, CommonColumn
from cim.catalog.model import Catalog, Layer
from cim.read.filters import Condition
from cim.store.connection import Cursor
from cim.store.kinds import kind_of
from cim.store.schema import IN_TILES, table

MOST_IN_TILE = 100_000  # features of a vector tile; one of a whole city holds no more
Version = tuple[int, str, datetime | None, datetime | None, bytes, float, float]


def versions_in_tiles(cursor: Cursor, layer: Layer) -> list[Version]:
    """Return all current versions that 3D tiles show: those with a body above LoD0, or every point of a symbol.

    Each is (fid, id, valid from, valid until, content, x, y), x and y the centre of the footprint's box in the
    city's CRS, in the order of ids.
    """
    shown = "true" if layer.symbol else "lods[cardinality(lods)] >= '1'"
    cursor.execute(
        f"""SELECT fid, id, lower(valid), upper(valid), content,
                   (ST_XMin(geom) + ST_XMax(geom)) / 2, (ST_YMin(geom) + ST_YMax(geom)) / 2
            FROM {table(layer)}
            WHERE {IN_TILES} AND {shown}
            ORDER BY id COLLATE "C", fid"""
    )
    return cursor.fetchall()


def rows_in_tiles(cursor: Cursor, layer: Layer, fids: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return (id, footprint WKB, faces of the highest LoD, public fields…) of versions, in the order of ids.

    A symbol has no faces: None.
    """
    faces, bodies = "b.faces", "JOIN cim.body b ON b.hash = v.bodies[cardinality(v.bodies)]"
    if layer.symbol:
        faces, bodies = "NULL", ""
    fields = "".join(f', v."{f.name}"' for f in layer.public_fields)
    cursor.execute(
        f"""SELECT v.id, ST_AsBinary(ST_Force2D(v.geom)), {faces}{fields}
            FROM {table(layer)} v {bodies}
            WHERE v.fid = ANY(%s) ORDER BY v.id COLLATE "C" """,
        [list(fids)],
        binary=True,
    )
    return cursor.fetchall()


def point_heights(cursor: Cursor, layer: Layer) -> dict[int, float | None]:
    """Return the height that each current version's point carries, None where it has none."""
    cursor.execute(f"SELECT fid, ST_Z(geom) FROM {table(layer)} WHERE upper_inf(recorded)")
    return dict(cursor.fetchall())


def current(at: str = "%(at)s") -> str:
    """Return the condition for what holds at a moment of city time, as we know it now."""
    return f"upper_inf(v.recorded) AND v.valid @> coalesce({at}::timestamptz, now())"


def vector_tile(cursor: Cursor, layer: Layer, srid: int, zxy: tuple[int, int, int], at: datetime | None) -> bytes:
    """Return a layer's Mapbox vector tile; sensitive fields stay out of it."""
    fields = "".join(f', v."{f.name}"' for f in layer.public_fields)
    z, x, y = zxy
    cursor.execute(
        f"""WITH env AS MATERIALIZED (  -- else a plan without values makes it again for each row
              SELECT ST_TileEnvelope(%(z)s, %(x)s, %(y)s) AS tile,
                     ST_Transform(ST_TileEnvelope(%(z)s, %(x)s, %(y)s, margin => 0.03125), {srid}) AS city)
            SELECT ST_AsMVT(tile, %(layer)s, 4096, 'geom', 'fid') FROM (
              SELECT v.fid, v.id{fields},
                     ST_AsMVTGeom(ST_Transform(ST_Force2D(v.geom), 3857), env.tile, 4096, 128, true) AS geom
              FROM {table(layer)} v, env
              WHERE v.geom && env.city AND v.public AND {current()}
              ORDER BY v.fid LIMIT {MOST_IN_TILE}) tile""",
        {"layer": layer.id, "z": z, "x": x, "y": y, "at": at},
    )
    row = cursor.fetchone()
    return bytes(row[0]) if row else b""


def layer_counts(cursor: Cursor, layers: Sequence[Layer], at: datetime | None = None) -> dict[str, int]:
    """Return how many objects each feature layer holds at a moment; parts of an object aren't counted apart."""
    if not layers:
        return {}
    parts = [
        f"SELECT '{layer.id}', count(*) FROM {table(layer)} v WHERE v.parent_id IS NULL AND {current()}"
        for layer in layers
    ]
    cursor.execute(" UNION ALL ".join(parts), {"at": at})
    return dict(cursor.fetchall())


def file_counts(cursor: Cursor, at: datetime | None = None) -> dict[str, int]:
    """Return how many points the clouds of each layer hold at a moment; of layers of other files, how many files."""
    cursor.execute(
        f"""SELECT v.layer, sum(coalesce((v.about->>'points')::bigint, 1))::bigint FROM cim.asset v
            WHERE {current()} GROUP BY 1""",
        {"at": at},
    )
    return dict(cursor.fetchall())


def layer_datasets(
    cursor: Cursor, layer: Layer, at: datetime | None = None
) -> list[tuple[str, str | None, str | None, int]]:
    """Return the datasets that a layer's content comes from: (name, survey date, licence, objects), newest first.

    The date is that of the newest survey of the layer, up to the moment, that wasn't taken back: it may have found that
    nothing has changed since the one before.
    """
    cursor.execute(
        f"""SELECT v.dataset, (
                     SELECT max(s.surveyed)::text FROM cim.survey s JOIN cim.load l USING (load)
                     WHERE s.layer = %(layer)s AND s.dataset = v.dataset AND l.undone IS NULL
                       AND s.surveyed <= (coalesce(%(at)s::timestamptz, now()) AT TIME ZONE
                         (SELECT coalesce(value->>'timezone', 'UTC') FROM cim.setting WHERE key = 'city'))::date),
                   min(d.licence), count(*)
            FROM {table(layer)} v LEFT JOIN cim.dataset d ON d.name = v.dataset
            WHERE {current()} GROUP BY 1 ORDER BY 2 DESC NULLS LAST, 1""",
        {"at": at, "layer": layer.id},
    )
    return cursor.fetchall()


MOST_UNKNOWN = 20  # values of a field that are shown, the commonest


def unknown_codes(
    cursor: Cursor, catalog: Catalog, layers: Sequence[Layer], at: datetime | None = None
) -> dict[str, list[tuple[str, str, int]]]:
    """Return per layer the values that code lists don't have, as (field, value, objects), the commonest first.

    They are counted by what stands in the rows, not by their flag: a code list may have changed since the load.
    Sensitive fields stay out of it. A layer without any isn't in the answer.
    """
    parts: list[str] = []
    values: dict[str, Any] = {"at": at}
    for layer in layers:
        for coded, codes in catalog.coded_fields(layer):
            if coded.sensitive:
                continue
            listed = f"codes_{len(parts)}"
            values |= {listed: sorted(codes.values)}
            parts.append(
                f"""(SELECT '{layer.id}', '{coded.name}', v."{coded.name}", count(*) FROM {table(layer)} v
                     WHERE {current()} AND v."{coded.name}" <> ALL(%({listed})s::text[]) GROUP BY 3
                     ORDER BY 4 DESC, 3 LIMIT {MOST_UNKNOWN})"""
            )
    unknown: dict[str, list[tuple[str, str, int]]] = {}
    if parts:
        for layer_id, *row in cursor.execute(" UNION ALL ".join(parts), values).fetchall():
            unknown.setdefault(layer_id, []).append(tuple(row))
    return unknown


_SCALES = {"m2": 1.0, "km2": 1e6}


def key_figures(cursor: Cursor, layers: Sequence[Layer], at: datetime | None = None) -> dict[str, float]:
    """Return the key figure of each layer that has one and isn't empty: a count, a sum, or an area in its unit."""
    parts = []
    for layer in layers:
        if layer.figure is None:
            continue
        measure = {
            "count": "count(*) FILTER (WHERE v.parent_id IS NULL)",
            "sum": f'sum(v."{layer.figure.field}")',
            "area": f"sum(ST_Area(v.geom)) / {_SCALES[layer.figure.unit or 'm2']}",
        }[layer.figure.measure]
        parts.append(f"SELECT '{layer.id}', ({measure})::float8, count(*) FROM {table(layer)} v WHERE {current()}")
    if not parts:
        return {}
    cursor.execute(" UNION ALL ".join(parts), {"at": at})
    return {name: value for name, value, count in cursor.fetchall() if count and value is not None}


def search(
    cursor: Cursor, layers: Sequence[Layer], words: str, limit: int, at: datetime | None = None
) -> list[tuple[str, str, str, float, float]]:
    """Return objects whose id, name, code or label holds some words: (layer, id, text, x, y), the best first.

    Best is what equals the words, then what begins with them, then the shortest.
    """
    parts = []
    for layer in layers:
        fields = [f'v."{f.name}"' for f in layer.public_fields if f.type == "text" and f.role in ("name", "code")]
        shown = f"coalesce({', '.join([*fields, 'v.id'])})"
        tests = " OR ".join(f"{column} ILIKE %(like)s" for column in (*fields, "v.id"))
        parts.append(
            f"(SELECT '{layer.id}' AS layer, v.id, {shown} AS text, {shown} ILIKE %(words)s AS equal,"
            f" {shown} ILIKE %(begin)s AS begins, ST_PointOnSurface(v.geom) AS p FROM {table(layer)} v"
            f" WHERE ({tests}) AND {current()} ORDER BY 4 DESC, 5 DESC, length({shown}), v.id LIMIT %(limit)s)"
        )
    escaped = words.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    cursor.execute(
        f"SELECT layer, id, text, ST_X(p), ST_Y(p) FROM ({' UNION ALL '.join(parts)}) found"
        " ORDER BY equal DESC, begins DESC, length(text), layer, id LIMIT %(limit)s",
        {"like": f"%{escaped}%", "words": escaped, "begin": f"{escaped}%", "limit": limit, "at": at},
    )
    return cursor.fetchall()


def extent(cursor: Cursor, layers: Sequence[Layer]) -> tuple[float, float, float, float] | None:
    """Return xmin, ymin, xmax, ymax in the city's CRS around what layers hold now, or None if they are empty."""
    if not layers:
        return None
    parts = [
        f"SELECT ST_Extent(geom)::geometry AS box FROM {table(layer)} WHERE upper_inf(recorded)" for layer in layers
    ]
    cursor.execute(
        "SELECT ST_XMin(e), ST_YMin(e), ST_XMax(e), ST_YMax(e) FROM "
        f"(SELECT ST_Extent(box) AS e FROM ({' UNION ALL '.join(parts)}) b) t WHERE e IS NOT NULL"
    )
    row = cursor.fetchone()
    return (row[0], row[1], row[2], row[3]) if row else None


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
