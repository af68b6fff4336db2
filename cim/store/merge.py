"""Merging a delivery: what is new, what is unchanged, what becomes a new version; nothing is overwritten.

A delivery of date D meets, for each id, the current version whose `valid` holds D (an undated delivery: the open
one). Same content: unchanged. Other content: the version's `recorded` ends now, and the old content until D and the
new content from D are written. Where the delivery brings the same date, or none, it corrects the version whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg

from cim.catalog.model import Layer
from cim.store.binary_copy import copy_rows
from cim.store.match import meet_by_place
from cim.store.schema import BODY_COLUMNS, LOAD_COLUMNS, record_columns, table

_LOAD_NAMES = ", ".join(f'"{c.name}"' for c in LOAD_COLUMNS)
_LOAD_VALUES = ", ".join(f"%({c.name})s::{c.sql_type}" for c in LOAD_COLUMNS)
HASH_IN_ROW = slice(6, 22)  # of a body's row on the wire: behind the number of its columns and the length of the hash


@dataclass(frozen=True)
class Delivery:
    """What all records of one merge share."""

    layer: Layer
    dataset: str
    load: int
    valid_from: datetime | None  # None: valid from ever
    complete: bool = False
    public: bool = True
    source: int | None = None  # the row of cim.source; None: no file, an edit
    surveyed: date | None = None  # None: nothing says when


@dataclass(frozen=True)
class Clash:
    """A record whose id another dataset uses for an object elsewhere: what it says, and its shape."""

    id: str
    attributes: dict[str, Any]
    wkb: bytes


@dataclass(frozen=True)
class Merged:
    """The outcome of a merge, in records."""

    loaded: int = 0
    updated: int = 0
    unchanged: int = 0
    ended: int = 0
    clashes: tuple[Clash, ...] = ()
    taken_over: tuple[str, ...] = ()  # ids updated from another dataset
    met: tuple[str, ...] = ()  # records without an id, known again by their place


def create_staging(cursor: psycopg.Cursor[Any], layer: Layer) -> None:
    """Make the session's staging table of a layer; it vanishes with the transaction."""
    columns = ", ".join(f'"{c.name}" {c.sql_type}' for c in record_columns(layer))
    cursor.execute(f"CREATE TEMP TABLE {staging(layer)} ({columns}) ON COMMIT DROP")


def drop_staging(cursor: psycopg.Cursor[Any], layer: Layer) -> None:
    """Drop a staging table that holds nothing to merge."""
    cursor.execute(f"DROP TABLE {staging(layer)}")


def staging(layer: Layer) -> str:
    """Return the quoted name of a layer's staging table."""
    return f'"stage_{layer.id}"'


def stage_records(cursor: psycopg.Cursor[Any], layer: Layer, rows: Sequence[bytes]) -> None:
    """Copy records into staging: rows as the wire has them, of `record_columns`."""
    copy_rows(cursor, staging(layer), record_columns(layer), rows)


def store_bodies(cursor: psycopg.Cursor[Any], rows: Sequence[bytes]) -> None:
    """Write bodies that the store doesn't have yet: rows as the wire has them, of `BODY_COLUMNS`.

    All layers share the table. A body that somebody else writes at the same time is waited for; so who writes more than
    one takes turns with the others (`take_turn_with_bodies`).
    """
    of_hash = {row[HASH_IN_ROW]: row for row in rows}
    stored = cursor.execute("SELECT hash FROM cim.body WHERE hash = ANY(%b)", [list(of_hash)], binary=True).fetchall()
    for (body,) in stored:
        del of_hash[bytes(body)]
    if not of_hash:
        return
    fresh = list(of_hash.values())
    try:
        with cursor.connection.transaction():
            copy_rows(cursor, "cim.body", BODY_COLUMNS, fresh)
    except psycopg.errors.UniqueViolation:  # an edit wrote one of them in between
        columns = ", ".join(f'"{c.name}" {c.sql_type}' for c in BODY_COLUMNS)
        cursor.execute(f"CREATE TEMP TABLE stage_bodies ({columns}) ON COMMIT DROP")
        copy_rows(cursor, "stage_bodies", BODY_COLUMNS, fresh)
        names = ", ".join(f'"{c.name}"' for c in BODY_COLUMNS)
        cursor.execute(f"INSERT INTO cim.body ({names}) SELECT {names} FROM stage_bodies ON CONFLICT DO NOTHING")
        cursor.execute("DROP TABLE stage_bodies")


def take_turn_with_bodies(cursor: psycopg.Cursor[Any]) -> None:
    """Wait until no other load writes bodies, and let none until the transaction ends.

    Two that write the same bodies in another order would wait for each other. An edit writes one, and needs no turn.
    """
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('cim.body'))")


def described(cursor: psycopg.Cursor[Any], layer: Layer, rows: Sequence[bytes]) -> list[Clash]:
    """Return what records say that can't be staged, rows as the wire has them, in their order."""
    columns = ", ".join(f'"{c.name}" {c.sql_type}' for c in record_columns(layer))
    cursor.execute(f"CREATE TEMP TABLE stage_twice ({columns}, place bigint GENERATED ALWAYS AS IDENTITY)")
    copy_rows(cursor, "stage_twice", record_columns(layer), rows)
    cursor.execute(f"{_described(layer, 'stage_twice')} ORDER BY s.place")
    clashes = [Clash(*row) for row in cursor]
    cursor.execute("DROP TABLE stage_twice")
    return clashes


def _described(layer: Layer, staged: str | None = None) -> str:
    """Return the query for what staged records `s` say: id, attributes, shape."""
    fields = ", ".join(f"'{f.name}', s.\"{f.name}\"" for f in layer.fields)
    return f"""SELECT s.id, jsonb_strip_nulls(coalesce(s.extra, '{{}}') || jsonb_build_object({fields})),
                      ST_AsBinary(s.geom) FROM {staged or staging(layer)} s"""


def merge(cursor: psycopg.Cursor[Any], delivery: Delivery) -> Merged:
    """Merge what is staged into the layer's table, and drop the staging table."""
    layer = delivery.layer
    values = _values(delivery)
    # how many rows of a layer meet a condition is often estimated as one: without an index all staged records would be
    # read for each of them
    cursor.execute(f"CREATE INDEX ON {staging(layer)} (id)")
    cursor.execute(f"ANALYZE {staging(layer)} (id)")
    met = meet_by_place(cursor, layer, staging(layer), _meets(dated=delivery.valid_from is not None), values)
    cursor.execute(_plan(layer, dated=delivery.valid_from is not None), values)
    ended = _end_absent(cursor, delivery, values) if delivery.complete else 0
    cursor.execute(_close(layer))
    cursor.execute(_keep_old_content(layer), values)
    cursor.execute(_write_new_content(layer), values)
    cursor.execute(_announce(layer), values)
    cursor.execute(_moments_ahead(), values)
    counts, clashes, taken_over = _outcome(cursor, delivery)
    cursor.execute(f"DROP TABLE {staging(layer)}, merge_plan")
    return Merged(
        loaded=counts.get("new", 0),
        updated=counts.get("replace", 0) + counts.get("split", 0),
        unchanged=counts.get("unchanged", 0),
        ended=ended,
        clashes=clashes,
        taken_over=taken_over,
        met=tuple(met),
    )


def settle(cursor: psycopg.Cursor[Any], layer: Layer) -> None:
    """Let PostgreSQL know at once what a large delivery wrote, as it would by itself some minutes later.

    Until the index over loads knows the new pages, and plans the columns, who asks what a load brought reads the layer.
    """
    cursor.execute("SELECT brin_summarize_new_values(%s::regclass)", [f'twin."{layer.id}_load"'])
    cursor.execute(f"ANALYZE {table(layer)}")


def merge_observations(cursor: psycopg.Cursor[Any], delivery: Delivery) -> Merged:
    """Merge staged observations: a value known already is unchanged, another value for its moment replaces it."""
    layer = delivery.layer
    t, values = table(layer), _values(delivery)
    names = ", ".join(f'"{c.name}"' for c in record_columns(layer))
    cursor.execute(f"ANALYZE {staging(layer)} (id)")
    cursor.execute(
        f"""CREATE TEMP TABLE merge_plan ON COMMIT DROP AS
            SELECT s.id, v.fid, CASE WHEN v.fid IS NULL THEN 'new'
                                     WHEN v.content = s.content AND v.public = %(public)s THEN 'unchanged'
                                     ELSE 'replace' END AS action
            FROM {staging(layer)} s LEFT JOIN {t} v ON v.id = s.id AND upper_inf(v.recorded)""",
        values,
    )
    cursor.execute(
        f"UPDATE {t} v SET recorded = tstzrange(lower(v.recorded), now()) FROM merge_plan p"
        " WHERE p.fid = v.fid AND p.action = 'replace'"
    )
    staged = ", ".join(f's."{c.name}"' for c in record_columns(layer))
    cursor.execute(
        f"""INSERT INTO {t} ({names}, {_LOAD_NAMES})
            SELECT {staged}, {_LOAD_VALUES}
            FROM merge_plan p JOIN {staging(layer)} s USING (id)
            WHERE p.action <> 'unchanged' ORDER BY s.feature, s.time""",
        values,
    )
    cursor.execute("SELECT action, count(*) FROM merge_plan GROUP BY action")
    counts = dict(cursor.fetchall())
    if counts.keys() - {"unchanged"}:  # one row says that the series grew; who follows looks them up
        cursor.execute("INSERT INTO cim.outbox (layer, id) VALUES (%s, '')", [layer.id])
    cursor.execute(f"DROP TABLE {staging(layer)}, merge_plan")
    return Merged(counts.get("new", 0), counts.get("replace", 0), counts.get("unchanged", 0))


def _values(delivery: Delivery) -> dict[str, Any]:
    layer = delivery.layer
    return {
        "from": delivery.valid_from,
        "dataset": delivery.dataset,
        "load": delivery.load,
        "public": delivery.public,
        "source": delivery.source,
        "surveyed": delivery.surveyed,
        "layer": layer.id,
        "class_code": layer.class_code,
        "cim_level": layer.cim_level,
    }


def _meets(*, dated: bool) -> str:
    """Return the condition for the version that a delivery's record meets."""
    return "v.valid @> %(from)s::timestamptz" if dated else "upper_inf(v.valid)"


def _plan(layer: Layer, *, dated: bool) -> str:
    """Per staged record: the current version it meets, and what follows from that."""
    meets = _meets(dated=dated)
    # a record that meets no version still must not overlap the others of its id
    others = f"FROM {table(layer)} o WHERE o.id = s.id AND upper_inf(o.recorded)"
    room = (
        f"tstzrange(%(from)s::timestamptz, (SELECT min(lower(o.valid)) {others} AND lower(o.valid) > %(from)s))"
        if dated
        else f"tstzrange((SELECT max(upper(o.valid)) {others}), NULL)"
    )
    return f"""
        CREATE TEMP TABLE merge_plan ON COMMIT DROP AS
        SELECT s.id, v.fid, v.valid AS old_valid, v.dataset AS old_dataset, Box2D(v.geom) AS old_box,
               CASE WHEN v.fid IS NULL THEN 'new'
                    WHEN s.content IN (v.content, v.derived_from) AND v.public = %(public)s THEN 'unchanged'
                    WHEN v.dataset <> %(dataset)s AND NOT v.geom && s.geom THEN 'clash'
                    WHEN %(from)s::timestamptz IS NULL OR lower(v.valid) = %(from)s::timestamptz THEN 'replace'
                    ELSE 'split' END AS action,
               CASE WHEN v.fid IS NULL THEN {room}
                    WHEN %(from)s::timestamptz IS NULL THEN v.valid
                    ELSE tstzrange(%(from)s::timestamptz, upper(v.valid)) END AS new_valid
        FROM {staging(layer)} s
        LEFT JOIN {table(layer)} v ON v.id = s.id AND upper_inf(v.recorded) AND {meets}"""


def _close(layer: Layer) -> str:
    return f"""
        UPDATE {table(layer)} v SET recorded = tstzrange(lower(v.recorded), now())
        FROM merge_plan p WHERE p.fid = v.fid AND p.action IN ('replace', 'split')"""


def _keep_old_content(layer: Layer) -> str:
    names = ", ".join(f'"{c.name}"' for c in (*record_columns(layer), *LOAD_COLUMNS))
    return f"""
        INSERT INTO {table(layer)} (valid, {names})
        SELECT tstzrange(lower(v.valid), lower(p.new_valid)), {names}
        FROM (SELECT fid AS plan_fid, new_valid FROM merge_plan WHERE action = 'split') p
        JOIN {table(layer)} v ON v.fid = p.plan_fid"""


def _write_new_content(layer: Layer) -> str:
    names = ", ".join(f'"{c.name}"' for c in record_columns(layer))
    staged = ", ".join(f's."{c.name}"' for c in record_columns(layer))
    return f"""
        INSERT INTO {table(layer)} (valid, {names}, {_LOAD_NAMES})
        SELECT p.new_valid, {staged}, {_LOAD_VALUES}
        FROM merge_plan p JOIN {staging(layer)} s USING (id)
        WHERE p.action IN ('new', 'replace', 'split') ORDER BY s.id"""


def _announce(layer: Layer) -> str:
    return f"""
        INSERT INTO cim.outbox (layer, id, old_box, new_box)
        SELECT %(layer)s, p.id, p.old_box, Box2D(s.geom)
        FROM merge_plan p JOIN {staging(layer)} s USING (id) WHERE p.action IN ('new', 'replace', 'split')"""


def _moments_ahead() -> str:
    return """
        INSERT INTO cim.moment SELECT DISTINCT %(layer)s, bound FROM merge_plan p,
            LATERAL (VALUES (lower(p.new_valid)), (upper(p.new_valid))) bounds(bound)
        WHERE p.action IN ('new', 'replace', 'split') AND bound > now() ON CONFLICT DO NOTHING"""


def end_versions(cursor: psycopg.Cursor[Any], layer: Layer, ids: Sequence[str], at: datetime) -> int:
    """End the current versions of objects at a moment of city time; return how many there were."""
    cursor.execute(
        f"""CREATE TEMP TABLE absent ON COMMIT DROP AS
            SELECT fid, id FROM {table(layer)}
            WHERE id = ANY(%s) AND upper_inf(recorded) AND valid @> %s::timestamptz""",
        [list(ids), at],
    )
    return _end(cursor, layer, at)


def _end_absent(cursor: psycopg.Cursor[Any], delivery: Delivery, values: dict[str, Any]) -> int:
    """End what a complete delivery of the dataset no longer holds, at its date."""
    layer = delivery.layer
    cursor.execute(
        f"""
        CREATE TEMP TABLE absent ON COMMIT DROP AS
        SELECT v.fid, v.id FROM {table(layer)} v
        WHERE v.dataset = %(dataset)s AND upper_inf(v.recorded) AND upper_inf(v.valid)
          AND (lower_inf(v.valid) OR lower(v.valid) < coalesce(%(from)s::timestamptz, now()))
          AND NOT EXISTS (SELECT FROM {staging(layer)} s WHERE s.id = v.id)""",
        values,
    )
    return _end(cursor, layer, delivery.valid_from)


def _end(cursor: psycopg.Cursor[Any], layer: Layer, at: datetime | None) -> int:
    """End the versions in the table `absent` at a moment, None: now; drop the table."""
    names = ", ".join(f'"{c.name}"' for c in (*record_columns(layer), *LOAD_COLUMNS))
    values = {"layer": layer.id, "at": at}
    cursor.execute(
        f"UPDATE {table(layer)} v SET recorded = tstzrange(lower(v.recorded), now()) FROM absent a WHERE a.fid = v.fid"
    )
    cursor.execute(
        f"""
        INSERT INTO {table(layer)} (valid, {names})
        SELECT tstzrange(lower(valid), coalesce(%(at)s::timestamptz, now())), {names}
        FROM {table(layer)} WHERE fid IN (SELECT fid FROM absent)
          AND (lower_inf(valid) OR lower(valid) < coalesce(%(at)s::timestamptz, now()))""",
        values,
    )
    cursor.execute(
        f"""
        INSERT INTO cim.outbox (layer, id, old_box)
        SELECT %(layer)s, id, Box2D(geom) FROM {table(layer)} WHERE fid IN (SELECT fid FROM absent)""",
        values,
    )
    ended = cursor.rowcount
    cursor.execute(
        "INSERT INTO cim.moment SELECT %(layer)s, %(at)s WHERE %(at)s::timestamptz > now() ON CONFLICT DO NOTHING",
        values,
    )
    cursor.execute("DROP TABLE absent")
    return ended


def _outcome(
    cursor: psycopg.Cursor[Any], delivery: Delivery
) -> tuple[dict[str, int], tuple[Clash, ...], tuple[str, ...]]:
    cursor.execute("SELECT action, count(*) FROM merge_plan GROUP BY action")
    counts = dict(cursor.fetchall())
    cursor.execute(f"{_described(delivery.layer)} JOIN merge_plan p USING (id) WHERE p.action = 'clash' ORDER BY s.id")
    clashes = tuple(Clash(*row) for row in cursor)
    cursor.execute(
        "SELECT id FROM merge_plan WHERE action IN ('replace', 'split') AND old_dataset <> %s ORDER BY id",
        [delivery.dataset],
    )
    return counts, clashes, tuple(row[0] for row in cursor)
