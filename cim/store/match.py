"""Records without an id, met again by their place: what a newer delivery calls by no name keeps the name it has.

Such a record's id is a hash of what it says, so that any change would make it another object. Where that id isn't
known, it is given the id of the feature that it is most alike in place, if each is the other's most alike: of the same
dataset, without an id of its own, and not delivered under its old content. Alike are

- areas that share at least half of what both cover,
- lines that are nowhere farther apart than 2 m (Hausdorff distance),
- points within 1 m.
"""

from typing import Any

from cim.catalog.model import Layer
from cim.store.connection import Cursor
from cim.store.schema import table

LEAST_SHARED = 0.5
LINES_APART_M = 2.0
POINTS_APART_M = 1.0
HASH_DIGITS = 32

# between 0, not alike, and 1, the same
_ALIKE = {
    "MultiPolygon": f"""(SELECT CASE WHEN share >= {LEAST_SHARED} THEN share END FROM (SELECT ST_Area(ST_Intersection(
        s.flat, v.flat)) / nullif(ST_Area(s.flat) + ST_Area(v.flat) - ST_Area(ST_Intersection(s.flat, v.flat)), 0)
        AS share) both_)""",
    "MultiLineString": f"""(SELECT CASE WHEN apart <= {LINES_APART_M} THEN 1 - apart / {2 * LINES_APART_M} END
        FROM (SELECT ST_HausdorffDistance(s.flat, v.flat) AS apart) both_)""",
    "Point": f"""(SELECT CASE WHEN apart <= {POINTS_APART_M} THEN 1 - apart / {2 * POINTS_APART_M} END
        FROM (SELECT ST_Distance(s.flat, v.flat) AS apart) both_)""",
}


def _nameless(row: str) -> str:
    """Return the condition for a record whose id is a hash, and whose `record` is its place in the file."""
    return (
        f"{row}.record IS NOT NULL AND right({row}.id, {HASH_DIGITS}) ~ '^[0-9a-f]{{{HASH_DIGITS}}}$'"
        f" AND right({row}.id, {HASH_DIGITS}) <> {row}.record"
    )


def any_nameless(cursor: Cursor, staging: str) -> bool:
    """Return whether a record that is staged has no id of its own."""
    return cursor.execute(f"SELECT 1 FROM {staging} s WHERE {_nameless('s')} LIMIT 1").fetchone() is not None


def meet_by_place(cursor: Cursor, layer: Layer, staging: str, meets: str, values: dict[str, Any]) -> list[str]:
    """Give staged records without an id the ids of the features that they are; return those ids.

    Args:
        cursor: in the load's transaction.
        layer: a feature layer.
        staging: its staging table.
        meets: the condition on `v` for versions of the delivery's date.
        values: of the merge: the dataset, the date.

    """
    if not any_nameless(cursor, staging):
        return []
    near = LINES_APART_M if layer.geometry == "MultiLineString" else POINTS_APART_M
    cursor.execute(
        f"""
        CREATE TEMP TABLE met ON COMMIT DROP AS
        WITH fresh AS (
            SELECT s.id, ST_Force2D(s.geom) AS flat FROM {staging} s
            WHERE {_nameless("s")}
              AND NOT EXISTS (SELECT FROM {table(layer)} v WHERE v.id = s.id AND upper_inf(v.recorded))
        ), pairs AS (
            SELECT s.id AS new, v.id AS old, {_ALIKE[layer.geometry or ""]} AS alike
            FROM fresh s CROSS JOIN LATERAL (
                SELECT v.id, ST_Force2D(v.geom) AS flat FROM {table(layer)} v
                WHERE v.geom && ST_Expand(s.flat, {near}) AND upper_inf(v.recorded) AND {meets}
                  AND v.dataset = %(dataset)s AND {_nameless("v")}
                OFFSET 0  -- so that each record asks the index: which rows are nameless can't be estimated
            ) v WHERE NOT EXISTS (SELECT FROM {staging} d WHERE d.id = v.id)
        ), ranked AS (
            SELECT new, old, row_number() OVER (PARTITION BY new ORDER BY alike DESC, old) AS of_new,
                   row_number() OVER (PARTITION BY old ORDER BY alike DESC, new) AS of_old
            FROM pairs WHERE alike IS NOT NULL
        )
        SELECT new, old FROM ranked WHERE of_new = 1 AND of_old = 1""",
        values,
    )
    cursor.execute(f"UPDATE {staging} s SET id = m.old FROM met m WHERE m.new = s.id RETURNING m.old")
    ids = sorted(row[0] for row in cursor.fetchall())
    cursor.execute("DROP TABLE met")
    return ids
