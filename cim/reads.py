"""Layer-shaped reads: what the tilers and the services ask of a layer's table, at a moment of city time."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cim.catalog.model import Layer
from cim.schema import table
from cim.store import Cursor

Version = tuple[int, str, datetime | None, datetime | None, bytes, float, float]


def versions_with_bodies(cursor: Cursor, layer: Layer) -> list[Version]:
    """Return all current versions that have a body above LoD0.

    Each is (fid, id, valid from, valid until, content, x, y), x and y the centre of the footprint's box in the
    city's CRS, in the order of ids.
    """
    cursor.execute(
        f"""SELECT fid, id, lower(valid), upper(valid), content,
                   (ST_XMin(geom) + ST_XMax(geom)) / 2, (ST_YMin(geom) + ST_YMax(geom)) / 2
            FROM {table(layer)}
            WHERE upper_inf(recorded) AND NOT isempty(valid) AND lods[cardinality(lods)] >= '1'
            ORDER BY id COLLATE "C", fid"""
    )
    return cursor.fetchall()


def rows_with_bodies(cursor: Cursor, layer: Layer, fids: Sequence[int]) -> list[tuple[Any, ...]]:
    """Return (id, footprint WKB, faces of the highest LoD, public fields…) of versions, in the order of ids."""
    fields = "".join(f', v."{f.name}"' for f in layer.public_fields)
    cursor.execute(
        f"""SELECT v.id, ST_AsBinary(ST_Force2D(v.geom)), b.faces{fields}
            FROM {table(layer)} v JOIN cim.body b ON b.hash = v.bodies[cardinality(v.bodies)]
            WHERE v.fid = ANY(%s) ORDER BY v.id COLLATE "C" """,
        [list(fids)],
        binary=True,
    )
    return cursor.fetchall()


def current(at: str = "%(at)s") -> str:
    """Return the condition for what holds at a moment of city time, as we know it now."""
    return f"upper_inf(v.recorded) AND v.valid @> coalesce({at}::timestamptz, now())"


def vector_tile(cursor: Cursor, layer: Layer, srid: int, zxy: tuple[int, int, int], at: datetime | None) -> bytes:
    """Return a layer's Mapbox vector tile; sensitive fields stay out of it."""
    fields = "".join(f', v."{f.name}"' for f in layer.public_fields)
    z, x, y = zxy
    cursor.execute(
        f"""SELECT ST_AsMVT(tile, %(layer)s, 4096, 'geom', 'fid') FROM (
              SELECT v.fid, v.id{fields},
                     ST_AsMVTGeom(ST_Transform(ST_Force2D(v.geom), 3857), env.tile, 4096, 128, true) AS geom
              FROM {table(layer)} v,
                   (SELECT ST_TileEnvelope(%(z)s, %(x)s, %(y)s) AS tile,
                           ST_Transform(ST_TileEnvelope(%(z)s, %(x)s, %(y)s, margin => 0.03125), {srid}) AS city) env
              WHERE v.geom && env.city AND {current()}
              ORDER BY v.fid) tile""",
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
    cursor.execute(
        f"""SELECT v.dataset, d.surveyed::text, d.licence, v.load, l.started::text, lower(v.valid)::text,
                   upper(v.valid)::text, v.flags
            FROM {table(layer)} v LEFT JOIN cim.dataset d ON d.name = v.dataset LEFT JOIN cim.load l ON l.load = v.load
            WHERE v.id = %(id)s AND {current()}""",
        {"id": identifier, "at": at},
    )
    row = cursor.fetchone()
    names = ("dataset", "surveyed", "licence", "load", "loaded", "valid_from", "valid_until", "flags")
    return dict(zip(names, row, strict=True)) if row else None


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
