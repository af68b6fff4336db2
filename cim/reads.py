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
