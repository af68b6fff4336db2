"""`cim diff`: what was added, removed or changed in a layer between two moments of city time, as we know it now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from cim.catalog.model import Layer
from cim.errors import BadRequest
from cim.messages import say
from cim.store.connection import Cursor
from cim.store.kinds import kind_of
from cim.store.schema import table

KINDS = ("added", "removed", "changed")


@dataclass(frozen=True)
class Difference:
    """What differs: one frame a kind, in the city's CRS; `changed` has the newer content and says what is new in it."""

    layer: Layer
    since: datetime
    until: datetime
    srid: int
    frames: Mapping[str, gpd.GeoDataFrame]
    unchanged: int

    def summary(self) -> dict[str, Any]:
        """Return counts: by kind, and of the changed ones by field and by shape."""
        changed = self.frames["changed"]
        fields = pd.Series(
            [name for field_list in changed["changed_fields"] for name in field_list.split(",") if name], dtype=str
        )
        return {
            "layer": self.layer.id,
            "from": self.since.isoformat(),
            "to": self.until.isoformat(),
            **{kind: len(self.frames[kind]) for kind in KINDS},
            "unchanged": self.unchanged,
            "changed_shape": int(changed["changed_shape"].sum()),
            "changed_fields": fields.value_counts().sort_index().to_dict(),
        }


def difference(cursor: Cursor, layer: Layer, since: datetime, until: datetime, srid: int) -> Difference:
    """Compare a layer's content at two moments.

    Raises:
        BadRequest: the layer has no history, or the moments are out of order.

    """
    if not kind_of(layer).has_history:
        raise BadRequest(say("which-has-no-versions-compare", layer=layer.id, kind=layer.kind))
    if since >= until:
        raise BadRequest(say("first-moment", since=f"{since:%Y-%m-%d}", until=f"{until:%Y-%m-%d}"))
    at = {"since": since, "until": until}
    names = [f.name for f in layer.fields]
    cursor.execute(_pairs(layer, names), at)
    columns = [d.name for d in cursor.description or ()]
    rows = [dict(zip(columns, row, strict=True)) for row in cursor]
    frames = {kind: _frame([row for row in rows if row["kind"] == kind], names, srid) for kind in KINDS}
    cursor.execute(f"SELECT count(*) FROM ({_both(layer)}) b WHERE b.old = b.new", at)
    row = cursor.fetchone()
    return Difference(layer, since, until, srid, frames, row[0] if row else 0)


def write_difference(changes: Difference, path: Path) -> None:
    """Write a difference as a GeoPackage with a layer for each kind; whole or not at all.

    Raises:
        BadRequest: the file isn't to be a GeoPackage.

    """
    if path.suffix.lower() != ".gpkg":
        raise BadRequest(say("difference-written-gpkg", file=path))
    fresh = path.with_name(f".{path.name}")
    fresh.unlink(missing_ok=True)
    for kind in KINDS:
        changes.frames[kind].to_file(fresh, layer=kind, driver="GPKG", engine="pyogrio")
    fresh.replace(path)


def _at(layer: Layer, moment: str) -> str:
    return f"SELECT * FROM {table(layer)} WHERE upper_inf(recorded) AND valid @> %({moment})s::timestamptz"


def _both(layer: Layer) -> str:
    return (
        f"SELECT a.content AS old, b.content AS new FROM ({_at(layer, 'since')}) a JOIN ({_at(layer, 'until')}) b"
        " USING (id)"
    )


def _pairs(layer: Layer, names: Sequence[str]) -> str:
    """Return the query for what differs: the content that counts, and which fields are new in it."""
    taken = ", ".join(f'coalesce(b."{n}", a."{n}") AS "{n}"' for n in names)
    differ = ", ".join(f'CASE WHEN a."{n}" IS DISTINCT FROM b."{n}" THEN \'{n}\' END' for n in names) or "NULL"
    return f"""
        SELECT CASE WHEN a.id IS NULL THEN 'added' WHEN b.id IS NULL THEN 'removed' ELSE 'changed' END AS kind,
               id, coalesce(b.dataset, a.dataset) AS dataset, coalesce(b.load, a.load) AS load,
               lower(coalesce(b.valid, a.valid)) AS valid_from,
               concat_ws(',', {differ}, CASE WHEN a.extra IS DISTINCT FROM b.extra THEN 'extra' END) AS changed_fields,
               a.bodies IS DISTINCT FROM b.bodies OR NOT ST_OrderingEquals(a.geom, b.geom) AS changed_shape,
               ST_AsBinary(coalesce(b.geom, a.geom)) AS geometry{", " + taken if taken else ""}
        FROM ({_at(layer, "since")}) a FULL JOIN ({_at(layer, "until")}) b USING (id)
        WHERE a.content IS DISTINCT FROM b.content ORDER BY id"""


def _frame(rows: Sequence[Mapping[str, Any]], names: Sequence[str], srid: int) -> gpd.GeoDataFrame:
    columns = ("id", "dataset", "load", "valid_from", *names)
    by_column: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in columns}
    by_column["changed_fields"] = [row["changed_fields"] if row["kind"] == "changed" else "" for row in rows]
    by_column["changed_shape"] = [bool(row["changed_shape"]) and row["kind"] == "changed" for row in rows]
    shapes = shapely.from_wkb([row["geometry"] for row in rows])
    return gpd.GeoDataFrame(pd.DataFrame(by_column), geometry=list(shapes), crs=f"EPSG:{srid}")
