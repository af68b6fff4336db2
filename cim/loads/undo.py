"""`cim undo`: take one load back. What it wrote ends to be known, what it ended is known again; nothing is erased."""

from dataclasses import dataclass, field

from cim.access.asker import Asker
from cim.access.audit import note
from cim.errors import CannotUndo
from cim.store.connection import Cursor, Store
from cim.store.kinds import kind_of
from cim.store.schema import table


@dataclass(frozen=True)
class Undone:
    """What became of taking a load back, in versions by layer."""

    load: int
    taken_back: dict[str, int] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)


def undo(cursor: Cursor, store: Store, load: int, asker: Asker | None = None) -> Undone:
    """Take a load back in the caller's transaction.

    A load writes all its versions, and ends those it replaces, at one moment of recorded time: that is how they are
    found again.

    Raises:
        CannotUndo: there is no such load, it was taken back before, or a later load builds on it.

    """
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('cim.load'))")
    row = cursor.execute("SELECT started, undone FROM cim.load WHERE load = %s", [load]).fetchone()
    if row is None:
        raise CannotUndo(f"no load {load}; `cim loads` lists them")
    if row[1] is not None:
        raise CannotUndo(f"load {load} was taken back at {row[1]:%Y-%m-%d %H:%M}")
    outcome = Undone(load)
    at = {"at": row[0], "load": load}
    stored = [layer for layer in store.catalog.layers.values() if kind_of(layer).stored]
    for t, of_layer in [*((table(layer), f"'{layer.id}'") for layer in stored), ("cim.asset", "layer")]:
        _refuse_if_built_on(cursor, t, at)
        columns = _columns(cursor, t)
        taken = cursor.execute(
            f"""WITH taken AS (UPDATE {t} SET recorded = tstzrange(lower(recorded), now())
                               WHERE upper_inf(recorded) AND lower(recorded) = %(at)s RETURNING *)
                SELECT {of_layer}, count(*) FROM taken GROUP BY 1""",
            at,
        ).fetchall()
        back = cursor.execute(
            f"""WITH back AS (INSERT INTO {t} ({columns}, recorded)
                              SELECT {columns}, tstzrange(now(), NULL) FROM {t} WHERE upper(recorded) = %(at)s
                              RETURNING *)
                SELECT {of_layer}, count(*) FROM back GROUP BY 1""",
            at,
        ).fetchall()
        outcome.taken_back.update(dict(taken))
        outcome.restored.update(dict(back))
        if taken or back:
            shape = "footprint" if t == "cim.asset" else "geom"
            cursor.execute(
                f"""INSERT INTO cim.outbox (layer, id, old_box, new_box)
                    SELECT {of_layer}, id, box2d(ST_Extent({shape})), box2d(ST_Extent({shape})) FROM {t}
                    WHERE lower(recorded) = %(at)s OR upper(recorded) = %(at)s GROUP BY 1, 2""",
                at,
            )
    cursor.execute("UPDATE cim.load SET undone = now() WHERE load = %s", [load])
    who = asker or Asker()
    note(cursor, "undo", load=load, detail={"taken_back": outcome.taken_back, "restored": outcome.restored}, asker=who)
    return outcome


def _refuse_if_built_on(cursor: Cursor, t: str, at: dict[str, object]) -> None:
    """Refuse where a version of the load was changed later, or an object that it ended was brought again."""
    same_layer = "AND c.layer = v.layer" if t == "cim.asset" else ""
    later = cursor.execute(
        f"""SELECT count(*), min(l.load) FROM (
              SELECT upper(v.recorded) AS moment FROM {t} v
              WHERE lower(v.recorded) = %(at)s AND NOT upper_inf(v.recorded) AND NOT isempty(v.recorded)
              UNION ALL
              SELECT lower(c.recorded) FROM {t} v JOIN {t} c ON c.id = v.id {same_layer}
              WHERE upper(v.recorded) = %(at)s AND upper_inf(c.recorded) AND lower(c.recorded) > %(at)s) built
            LEFT JOIN cim.load l ON l.started = built.moment""",
        at,
    ).fetchone()
    if later and later[0]:
        first = f"take load {later[1]} back first" if later[1] else "they were edited since"
        raise CannotUndo(f"load {at['load']}: {later[0]} of its versions in {t} were changed later; {first}")


def _columns(cursor: Cursor, t: str) -> str:
    """Return the columns of a table that a copy of a row brings: all but identity, generated ones, and `recorded`."""
    rows = cursor.execute(
        """SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
           AND attidentity = '' AND attgenerated = '' AND attname <> 'recorded' ORDER BY attnum""",
        [t],
    ).fetchall()
    return ", ".join(f'"{row[0]}"' for row in rows)
