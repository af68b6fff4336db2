"""The quality of what a load brought: how complete its fields are, what breaks a rule of its layer, where that is.

`examine` looks at a load, in its own transaction where it is only a rehearsal. What it finds is JSON, kept with the
load (`cim.load.quality`) and drawn by `services.http.quality_page`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cim.catalog.model import Catalog, Layer, LayerField
from cim.geometry.topology import Finding, rule_faults
from cim.messages import keep
from cim.store.binary_copy import json_text
from cim.store.connection import Cursor, Store
from cim.store.schema import box_text, table

BINS = 20
MOST_VALUES = 12  # of a field, that are counted one by one
MOST_SHAPES = 1500  # of a layer, on the map
MOST_FINDINGS = 200  # of a rule, with their places
LARGEST = 200_000  # objects of a layer beyond which the rules among them are looked at only around the load
NEAR_M = 10.0  # of the load, around it

Json = dict[str, Any]


def examine(cursor: Cursor, store: Store, load: int, layers: Sequence[str]) -> Json:
    """Return what there is to say of a load's content.

    Args:
        cursor: in the load's transaction, or later.
        store: the city.
        load: its number.
        layers: ids of the layers that it brought something to.

    Returns:
        `{"layers": [{"id", "title", "count", "fields", "flags", "duplicates", "findings", "shapes"}], "refused"}`;
        places are in the city's CRS.

    """
    loaded_layers = [store.catalog.layers[name] for name in dict.fromkeys(layers)]
    examined = [_examine_layer(cursor, store, layer, load) for layer in loaded_layers if layer.geometry]
    refused = cursor.execute(
        """SELECT coalesce(layer, ''), reason, record, ST_X(ST_PointOnSurface(geometry)),
                  ST_Y(ST_PointOnSurface(geometry)) FROM cim.quarantine
           WHERE load = %s AND geometry IS NOT NULL AND NOT ST_IsEmpty(geometry) ORDER BY seq LIMIT %s""",
        [load, MOST_FINDINGS],
    ).fetchall()
    return {
        "layers": examined,
        "refused": [
            {"layer": layer, "reason": reason, "id": record, "at": [x, y]} for layer, reason, record, x, y in refused
        ],
    }


def keep_quality(cursor: Cursor, load: int, quality: Json) -> None:
    """Keep what was found with the load."""
    cursor.execute("UPDATE cim.load SET quality = %s::jsonb WHERE load = %s", [json_text(keep(quality)), load])


def read_quality(cursor: Cursor, store: Store, load: int) -> Json | None:
    """Return what is known of a load: its report, its quality, when and by whom; None: there is no such load.

    A load that nobody has examined yet is examined now.
    """
    row = cursor.execute(
        """SELECT (started AT TIME ZONE %(zone)s)::text, operator, (undone AT TIME ZONE %(zone)s)::text, report, quality
           FROM cim.load WHERE load = %(load)s""",
        {"load": load, "zone": store.city.timezone},
    ).fetchone()
    if row is None:
        return None
    started, operator, undone, report, quality = row
    if quality is None:
        layers = [layer for file in (report or {}).get("files", []) for layer in file["layers"]]
        quality = examine(cursor, store, load, layers)
        keep_quality(cursor, load, quality)
    return {
        "load": load, "started": started, "operator": operator, "undone": undone, "report": report, "quality": quality,
    }  # fmt: skip


def _examine_layer(cursor: Cursor, store: Store, layer: Layer, load: int) -> Json:
    from_load = f"FROM {table(layer)} v WHERE v.load = {int(load)} AND upper_inf(v.recorded)"
    count = _one(cursor, f"SELECT count(*) {from_load}")
    summary: Json = {"id": layer.id, "title": layer.title.model_dump(), "count": count}
    if not count:
        return summary | {"fields": [], "flags": {}, "duplicates": 0, "findings": [], "shapes": []}
    cursor.execute(
        f"SELECT flag, count(*) {from_load.replace(' WHERE', ', unnest(v.flags) flag WHERE')} GROUP BY 1 ORDER BY 1"
    )
    return summary | {
        "flags": dict(cursor.fetchall()),
        "fields": _fields(cursor, store.catalog, layer, from_load, count),
        "duplicates": _duplicates(cursor, from_load),
        "findings": _broken_rules(cursor, layer, load, store.city.srid) if layer.topology else [],
        "shapes": _shapes(cursor, from_load, count),
    }


def _one(cursor: Cursor, sql: str) -> Any:
    row = cursor.execute(sql.encode()).fetchone()
    return row[0] if row else None


def _fields(cursor: Cursor, catalog: Catalog, layer: Layer, from_load: str, count: int) -> list[Json]:
    """Describe each field: how many have a value, how many of those can't be, and how the values are spread."""
    parts = [part for f in layer.fields for part in (f'count(v."{f.name}")', _misfits(f, catalog), *_bounds(f))]
    cursor.execute(f"SELECT {', '.join(parts)} {from_load}" if parts else "SELECT")
    row = list(cursor.fetchone() or ())
    described = []
    for position, f in enumerate(layer.fields):
        filled, misfits, low, high = row[4 * position : 4 * position + 4]
        profile: Json = {
            "name": f.name,
            "title": f.title.model_dump(),
            "unit": f.unit,
            "obligation": f.obligation,
            "filled": filled,
            "missing": count - filled,
            "misfits": misfits,
            "sensitive": f.sensitive,
        }
        if filled and low is not None and not f.sensitive:
            profile |= {"min": float(low), "max": float(high)} | _spread(cursor, f, from_load, float(low), float(high))
        elif filled and not f.sensitive and f.type in ("text", "boolean"):
            profile["values"] = _values(cursor, f, catalog, from_load)
        described.append(profile)
    return described


def _misfits(f: LayerField, catalog: Catalog) -> str:
    """Return the count of values that aren't in the field's range or code list."""
    codes = catalog.codes(f)
    if codes is not None:
        code_list = ", ".join("'" + code.value.replace("'", "''") + "'" for code in codes.codes)
        return f'count(*) FILTER (WHERE v."{f.name}" NOT IN ({code_list}))'
    if f.range is not None:
        low, high = f.range
        return f'count(*) FILTER (WHERE v."{f.name}" NOT BETWEEN {low} AND {high})'
    return "0"


def _bounds(f: LayerField) -> tuple[str, str]:
    if f.type not in ("integer", "number"):
        return "NULL", "NULL"
    return f'min(v."{f.name}")', f'max(v."{f.name}")'


def _spread(cursor: Cursor, f: LayerField, from_load: str, low: float, high: float) -> Json:
    """Return the histogram of a field between its bounds."""
    if high <= low:
        return {}
    cursor.execute(
        f"""SELECT least(width_bucket(v."{f.name}"::float8, %s, %s, {BINS}), {BINS}) - 1, count(*) {from_load}
            AND v."{f.name}" IS NOT NULL GROUP BY 1""",
        [low, high],
    )
    bins = [0] * BINS
    for place, number in cursor.fetchall():
        bins[place] = number
    return {"histogram": bins}


def _values(cursor: Cursor, f: LayerField, catalog: Catalog, from_load: str) -> list[Json]:
    """Return how often the commonest values of a coded field stand; of other text, nothing is worth counting."""
    codes = catalog.codes(f)
    if codes is None:
        return []
    cursor.execute(
        f"""SELECT v."{f.name}", count(*) {from_load} AND v."{f.name}" IS NOT NULL GROUP BY 1
            ORDER BY 2 DESC, 1 LIMIT {MOST_VALUES}"""
    )
    titles = {code.value: code.title.model_dump() for code in codes.codes}
    return [{"value": value, "title": titles.get(value), "count": number} for value, number in cursor.fetchall()]


def _duplicates(cursor: Cursor, from_load: str) -> int:
    """Return how many objects have the shape and the bodies of another of the load, to the tenth of a millimetre."""
    return int(
        _one(
            cursor,
            f"""SELECT coalesce(sum(number - 1), 0) FROM (SELECT count(*) AS number {from_load} AND v.parent_id IS NULL
                GROUP BY ST_AsBinary(v.geom), v.bodies HAVING count(*) > 1) twice""",
        )
    )


def _broken_rules(cursor: Cursor, layer: Layer, load: int, srid: int) -> list[Json]:
    """Return where the layer's objects of today break its rule, of the load or next to it."""
    rule = layer.topology
    assert rule is not None  # noqa: S101 - the caller asked
    group = f'v."{rule.within}"::text' if rule.within else "''"
    around = _around(cursor, layer, load, srid)
    near = "AND v.geom && %(around)s::geometry" if around else ""
    cursor.execute(
        f"""SELECT v.id, v.load = %(load)s, {group}, ST_AsBinary(ST_Force2D(v.geom)) FROM {table(layer)} v
            WHERE upper_inf(v.recorded) AND upper_inf(v.valid) AND v.parent_id IS NULL {near}
            ORDER BY v.id COLLATE "C" """,
        {"load": load} | ({"around": around} if around else {}),
    )
    rows = cursor.fetchall()
    groups = np.array([row[2] or "" for row in rows], object)
    by_rule: dict[str, list[Json]] = {}
    for name in dict.fromkeys(groups.tolist()):
        members = [row for row, of in zip(rows, groups, strict=True) if of == name]
        shapes = shapely.from_wkb([row[3] for row in members])
        for finding in rule_faults(rule.rule, shapes):
            if any(members[m][1] for m in finding.members):
                by_rule.setdefault(finding.rule, []).append(_said(finding, [members[m][0] for m in finding.members]))
    return [
        {"rule": name, "count": len(places), "places": sorted(places, key=lambda p: -p["amount"])[:MOST_FINDINGS]}
        for name, places in by_rule.items()
    ]


def _around(cursor: Cursor, layer: Layer, load: int, srid: int) -> str | None:
    """Return the box around a load, to bind, where the layer is too large to be looked at whole; else None."""
    some = f"SELECT FROM {table(layer)} v WHERE upper_inf(v.recorded) LIMIT {LARGEST + 1}"
    if _one(cursor, f"SELECT count(*) FROM ({some}) current") <= LARGEST:
        return None
    row = cursor.execute(
        f"""SELECT ST_XMin(e), ST_YMin(e), ST_XMax(e), ST_YMax(e) FROM (
              SELECT ST_Expand(ST_Extent(v.geom), {NEAR_M}) AS e FROM {table(layer)} v
              WHERE v.load = {int(load)} AND upper_inf(v.recorded)) extent WHERE e IS NOT NULL"""
    ).fetchone()
    return box_text(row, srid) if row else None


def _said(finding: Finding, ids: list[str]) -> Json:
    place = shapely.point_on_surface(finding.shape)
    return {"ids": ids[:5], "amount": round(finding.amount, 3), "at": [round(place.x, 2), round(place.y, 2)]}


def _shapes(cursor: Cursor, from_load: str, count: int) -> list[list[Any]]:
    """Return outlines for a map, each a line of [x, y] in metres; of many objects, those of a share of them."""
    every = max(1, count // MOST_SHAPES)
    cursor.execute(
        f"""SELECT ST_AsBinary(ST_Simplify(ST_Force2D(v.geom), 0.5, true)) {from_load} AND v.fid % {every} = 0
            LIMIT {MOST_SHAPES}"""
    )
    shapes = shapely.from_wkb([row[0] for row in cursor.fetchall()])
    return [_line(part) for shape in shapes if shape is not None for part in shapely.get_parts(shape)]


def _line(part: Any) -> list[Any]:
    outline = part.exterior if shapely.get_type_id(part) == shapely.GeometryType.POLYGON else part
    points: NDArray[np.float64] = shapely.get_coordinates(outline)
    return np.round(points, 1).tolist()  # type: ignore[no-any-return]


def findings_of(quality: Mapping[str, Any]) -> list[str]:
    """Return a line for each thing that someone should look at, as a summary on the command line has it."""
    return [f"{layer['id']}: {line}" for layer in quality["layers"] for line in _lines(layer)]


def _lines(layer: Json) -> Iterator[str]:
    for field in layer["fields"]:
        if field["obligation"] == "M" and field["missing"]:
            yield f"{field['missing']} of {layer['count']} without {field['name']}, which is mandatory"
        if field["misfits"]:
            yield f"{field['misfits']} values of {field['name']} out of its range or code list"
    if layer["duplicates"]:
        yield f"{layer['duplicates']} objects have exactly the place and shape of another"
    for finding in layer["findings"]:
        yield f"{finding['count']} × {finding['rule']}, such as {', '.join(finding['places'][0]['ids'][:2])}"
