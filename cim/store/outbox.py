"""Following the city: what changed since, and when something begins or ends to hold.

The order of `seq` isn't the order of commits. A reader takes every change that it can see, goes on from the oldest
transaction that is still open, and remembers what it took beyond that: so a long load holds nobody's edit up.
"""

import json
from dataclasses import dataclass
from datetime import datetime

from cim.store.connection import Connection

CHANGED, UPDATED = "cim_change", "cim_update"  # channels: the outbox grew; what is served changed
KEPT_DAYS = 7


@dataclass(frozen=True)
class Place:
    """How far a reader has come: all below the horizon, and these beyond it."""

    horizon: int
    beyond: frozenset[int] = frozenset()


def here(connection: Connection) -> Place:
    """Return the place of a reader who has seen what is committed now."""
    return changes_since(connection, Place(0))[1]


def changes_since(connection: Connection, place: Place) -> tuple[frozenset[str], Place]:
    """Return the layers that changed since a place, and the place after that."""
    row = connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text").fetchone()
    horizon = int(row[0]) if row else 0
    rows = connection.execute(
        """SELECT layer, min(seq), array_agg(seq) FILTER (WHERE txid >= %(horizon)s::text::xid8) FROM cim.outbox
           WHERE txid >= %(since)s::text::xid8 AND NOT seq = ANY(%(beyond)s) GROUP BY layer""",
        {"since": str(place.horizon), "horizon": str(horizon), "beyond": sorted(place.beyond)},
    ).fetchall()
    beyond = {seq for row in rows for seq in row[2] or ()} | place.beyond
    settled = connection.execute(
        "SELECT array_agg(seq) FROM cim.outbox WHERE seq = ANY(%s) AND txid < %s::text::xid8",
        [sorted(beyond), str(horizon)],
    ).fetchone()
    return frozenset(r[0] for r in rows), Place(horizon, frozenset(beyond - set((settled and settled[0]) or ())))


def next_moment(connection: Connection, after: datetime) -> tuple[datetime, frozenset[str]] | None:
    """Return the next moment at which something begins or ends to hold, and the layers it concerns."""
    row = connection.execute(
        "SELECT moment, array_agg(layer) FROM cim.moment WHERE moment > %s GROUP BY moment ORDER BY moment LIMIT 1",
        [after],
    ).fetchone()
    return (row[0], frozenset(row[1])) if row else None


def announce_update(connection: Connection, layer: str, *, tiles: bool) -> None:
    """Tell whoever shows a layer that what is served of it changed."""
    connection.execute("SELECT pg_notify(%s, %s)", [UPDATED, json.dumps({"layer": layer, "tiles": tiles})])


def forget(connection: Connection) -> None:
    """Drop what everybody has followed long ago."""
    connection.execute("DELETE FROM cim.outbox WHERE seq < (SELECT max(seq) FROM cim.outbox) - 1000000")
    connection.execute("DELETE FROM cim.moment WHERE moment < now() - make_interval(days => %s)", [KEPT_DAYS])
