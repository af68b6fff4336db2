"""What tiles are made of: versions, rows, heights of points, and vector tiles themselves."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cim.catalog.model import Layer
from cim.read.layers import current
from cim.store.connection import Cursor
from cim.store.schema import IN_TILES, table

Version = tuple[int, str, datetime | None, datetime | None, bytes, float, float]

MOST_IN_TILE = 100_000  # features of a vector tile; one of a whole city holds no more


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
