"""Records that a load set aside: kept with their reason, listed, handed out to be mended, and seen to come again."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cim.catalog.model import Layer
from cim.errors import BadRequest, NotFound
from cim.messages import kept, say, told
from cim.store.binary_copy import json_text
from cim.store.connection import Cursor, Store
from cim.store.schema import table

LONGEST_TEXT = 1000
_AS_TEXT = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
UNNAMED = "no_layer"  # of a file handed out: records whose layer wasn't known


@dataclass(frozen=True)
class SetAside:
    """A record that was set aside."""

    record: str
    reason: str
    layer: str | None = None
    attributes: Mapping[str, Any] | None = None
    wkb: bytes | None = None  # in the city's CRS


def set_aside(cursor: Cursor, load: int, file: str, srid: int, records: Sequence[SetAside]) -> None:
    """Keep records of a load, in its transaction."""
    if not records:
        return
    cursor.executemany(
        f"""INSERT INTO cim.quarantine (load, file, layer, record, reason, attributes, geometry)
            VALUES (%s, %s, %s, %s, %s, %s::jsonb, ST_SetSRID(ST_GeomFromWKB(%s), {srid}))""",
        [(load, file, r.layer, _text(r.record), _kept(r.reason), _json(r.attributes), r.wkb) for r in records],
    )


def _text(text: str) -> str:
    return text.replace("\x00", "")[:LONGEST_TEXT]


def _kept(reason: str) -> str:
    text = kept(reason)
    return _text(text if len(text) <= LONGEST_TEXT else reason)


def _json(attributes: Mapping[str, Any] | None) -> str | None:
    if attributes is None:
        return None
    try:  # a number that isn't one becomes null
        plain = orjson.loads(orjson.dumps(dict(attributes), default=str, option=_AS_TEXT))
    except TypeError:  # a number beyond all bounds, half a character
        plain = {str(name): str(value) for name, value in attributes.items()}
    return json_text(plain)


def resolve(cursor: Cursor, layer: Layer, load: int) -> int:
    """Note which records set aside before a load has brought; return how many."""
    cursor.execute(
        f"""UPDATE cim.quarantine q SET resolved = now() WHERE q.resolved IS NULL AND q.layer = %(layer)s
            AND q.load <> %(load)s AND EXISTS (SELECT FROM {table(layer)} v
              WHERE v.id = q.record AND v.load = %(load)s AND upper_inf(v.recorded))""",
        {"layer": layer.id, "load": load},
    )
    return cursor.rowcount


def list_set_aside(cursor: Cursor, load: int | None = None) -> Iterator[str]:
    """Yield a line for each file, layer and reason: how many records are open, and which."""
    cursor.execute(
        """SELECT load, file, coalesce(layer, '—'), reason, count(*), (array_agg(record ORDER BY seq))[1:5]
           FROM cim.quarantine WHERE resolved IS NULL AND (%(load)s::bigint IS NULL OR load = %(load)s)
           GROUP BY 1, 2, 3, 4 ORDER BY 1 DESC, 2, 3, 5 DESC""",
        {"load": load},
    )
    for number, file, layer, reason, count, records in cursor.fetchall():
        more = ", …" if count > len(records) else ""
        yield f"{number}  {file} → {layer}: {count} × {told(reason, 'en')} ({', '.join(records)}{more})"


def hand_out(cursor: Cursor, store: Store, path: Path, load: int | None = None) -> int:
    """Write what is set aside as a GeoPackage, a table for each layer, named by it: mended, it is loaded as it is.

    Returns:
        How many records it holds.

    Raises:
        BadRequest: the file isn't to be a GeoPackage.
        NotFound: nothing is set aside.

    """
    import geopandas as gpd
    import pandas as pd
    import shapely

    if path.suffix.lower() != ".gpkg":
        raise BadRequest(say("what-set-aside-written-gpkg", file=path))
    cursor.execute(
        """SELECT coalesce(layer, %(unnamed)s), record, reason, attributes, ST_AsBinary(geometry) FROM cim.quarantine
           WHERE resolved IS NULL AND (%(load)s::bigint IS NULL OR load = %(load)s) ORDER BY seq""",
        {"load": load, "unnamed": UNNAMED},
    )
    rows = cursor.fetchall()
    if not rows:
        raise NotFound(say("nothing-set-aside-by-load", load=load) if load else say("nothing-set-aside"))
    fresh = path.with_name(f".{path.name}")
    fresh.unlink(missing_ok=True)
    for layer in sorted({row[0] for row in rows}):
        layer_rows = [row for row in rows if row[0] == layer]
        records = [_flat(record, reason, attributes) for _, record, reason, attributes, _ in layer_rows]
        shapes = [shapely.from_wkb(row[4]) if row[4] else None for row in layer_rows]
        frame = gpd.GeoDataFrame(pd.DataFrame(records), geometry=shapes, crs=f"EPSG:{store.city.srid}")
        frame.to_file(fresh, layer=layer, driver="GPKG", engine="pyogrio")
    fresh.replace(path)
    return len(rows)


def _flat(record: str, reason: str, attributes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a row of a table: what nests is text."""
    fields = {
        name: value if value is None or isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)
        for name, value in (attributes or {}).items()
        if name.casefold() not in ("id", "fid", "geometry")
    }
    return {"id": record, "set_aside_because": told(reason, "en"), **fields}
