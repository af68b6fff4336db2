"""`cim undo`: take one load back. What it wrote ends to be known, what it ended is known again; nothing is erased."""

from dataclasses import dataclass, field
from datetime import datetime

from cim.access.asker import COMMAND_LINE, Asker
from cim.catalog.model import Layer
from cim.errors import CannotUndo
from cim.loads.load import load as begin_load
from cim.loads.load import read_load
from cim.messages import say
from cim.store.connection import Cursor, Store
from cim.store.kinds import kind_of
from cim.store.schema import table


@dataclass(frozen=True)
class Undone:
    """What became of taking a load back, in versions by layer."""

    load: int
    taken_back: dict[str, int] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)


def undo(cursor: Cursor, store: Store, load: int, asker: Asker = COMMAND_LINE, wait_s: float | None = None) -> Undone:
    """Take a load back in a transaction that the caller commits.

    A load writes all its versions, and ends those it replaces, at one moment of recorded time: in its layers that is
    how they are found again.

    Args:
        cursor: of a connection that is in no transaction.
        store: the city.
        load: its number.
        asker: on whose behalf.
        wait_s: how long it waits for a layer that a load is writing into; None: as long as it takes.

    Raises:
        CannotUndo: there is no such load, it was taken back before, or a later load builds on it.
        LayerBusy: a load holds one of its layers for longer.

    """
    noted_load = read_load(cursor, load)
    cursor.connection.rollback()  # nothing but read; what is decided is decided when its layers are held
    if noted_load is None:
        raise CannotUndo(say("no-load", load=load))
    touched = [store.catalog.layers[name] for name in noted_load.layers(store.catalog) if name in store.catalog.layers]
    with begin_load(cursor, asker, "undo", [layer.id for layer in touched], wait_s=wait_s, of=load) as work:
        row = cursor.execute("SELECT started, undone FROM cim.load WHERE load = %s", [load]).fetchone()
        if row is None or row[1] is not None:
            when = {"moment": store.city.clock.shown(row[1])} if row else {}
            raise CannotUndo(say("load-was-taken-back-at" if when else "load-was-taken-back", load=load, **when))
        outcome = Undone(load)
        for layer in touched:
            _take_back(cursor, layer, row[0], outcome)
        cursor.execute("UPDATE cim.load SET undone = now() WHERE load = %s", [load])
        work.detail = {"taken_back": outcome.taken_back, "restored": outcome.restored}
    return outcome


def _take_back(cursor: Cursor, layer: Layer, moment: datetime, outcome: Undone) -> None:
    """Take back what was written into a layer at a moment, and write again what ended then."""
    t, in_layer = (table(layer), "true") if kind_of(layer).stored else ("cim.asset", "layer = %(layer)s")
    at = {"at": moment, "load": outcome.load, "layer": layer.id}
    _refuse_if_built_on(cursor, t, in_layer, at)
    columns = _columns(cursor, t)
    taken = cursor.execute(
        f"""UPDATE {t} SET recorded = tstzrange(lower(recorded), now())
            WHERE {in_layer} AND upper_inf(recorded) AND lower(recorded) = %(at)s""",
        at,
    ).rowcount
    back = cursor.execute(
        f"""INSERT INTO {t} ({columns}, recorded) SELECT {columns}, tstzrange(now(), NULL) FROM {t}
            WHERE {in_layer} AND upper(recorded) = %(at)s""",
        at,
    ).rowcount
    outcome.taken_back.update({layer.id: taken} if taken else {})
    outcome.restored.update({layer.id: back} if back else {})
    if taken or back:
        shape = "footprint" if t == "cim.asset" else "geom"
        cursor.execute(
            f"""INSERT INTO cim.outbox (layer, id, old_box, new_box)
                SELECT %(layer)s, id, box2d(ST_Extent({shape})), box2d(ST_Extent({shape})) FROM {t}
                WHERE {in_layer} AND (lower(recorded) = %(at)s OR upper(recorded) = %(at)s) GROUP BY id""",
            at,
        )


def _refuse_if_built_on(cursor: Cursor, t: str, in_layer: str, at: dict[str, object]) -> None:
    """Refuse where a version of the load was changed later, or an object that it ended was brought again."""
    same_layer = "AND c.layer = v.layer" if t == "cim.asset" else ""
    in_layer = f"v.{in_layer}" if t == "cim.asset" else in_layer
    later = cursor.execute(
        f"""SELECT count(*), min(l.load) FROM (
              SELECT upper(v.recorded) AS moment FROM {t} v
              WHERE {in_layer} AND lower(v.recorded) = %(at)s AND NOT upper_inf(v.recorded) AND NOT isempty(v.recorded)
              UNION ALL
              SELECT lower(c.recorded) FROM {t} v JOIN {t} c ON c.id = v.id {same_layer}
              WHERE {in_layer} AND upper(v.recorded) = %(at)s AND upper_inf(c.recorded)
                AND lower(c.recorded) > %(at)s) built
            LEFT JOIN cim.load l ON l.started = built.moment""",
        at,
    ).fetchone()
    if later and later[0]:
        first = say("take-load-back-first", load=later[1]) if later[1] else say("edited-since")
        raise CannotUndo(say("versions-were-changed-later", load=at["load"], later=later[0], table=t, what_helps=first))


def _columns(cursor: Cursor, t: str) -> str:
    """Return the columns of a table that a copy of a row brings: all but identity, generated ones, and `recorded`."""
    rows = cursor.execute(
        """SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
           AND attidentity = '' AND attgenerated = '' AND attname <> 'recorded' ORDER BY attnum""",
        [t],
    ).fetchall()
    return ", ".join(f'"{row[0]}"' for row in rows)
