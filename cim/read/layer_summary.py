"""What layers hold, in sum: counts, datasets, values that no list has, key figures, extent."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from cim.catalog.model import Catalog, Layer
from cim.read.layers import current
from cim.store.connection import Cursor
from cim.store.schema import table

MOST_UNKNOWN = 20  # values of a field that are shown, the commonest


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
