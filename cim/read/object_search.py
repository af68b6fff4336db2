"""Objects by what people call them."""

from collections.abc import Sequence
from datetime import datetime

from cim.catalog.model import Layer
from cim.read.layers import current
from cim.store.connection import Cursor
from cim.store.schema import table


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
