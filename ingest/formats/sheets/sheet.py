"""Files that are kept whole, rasters and clouds: catalogued as dated sheets of their layer over the asset store."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from cim.catalog.model import KindName, Layer
from cim.errors import UnknownLayer
from cim.reference.crs import Float
from cim.store.connection import Cursor, Store
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport


@dataclass(frozen=True)
class Sheet:
    """What is catalogued of an asset."""

    layer: str
    id: str
    sha256: str
    outline: list[tuple[float, float]]  # closed, in the city's CRS
    about: dict[str, Any]
    records: int = 1  # that it counts for in the report: a raster is one, a cloud its points

    @property
    def footprint(self) -> str:
        """The outline as WKT."""
        return "POLYGON((" + ", ".join(f"{x} {y}" for x, y in self.outline) + "))"


def box_outline(x: Float, y: Float) -> list[tuple[float, float]]:
    """Return the box around places as a closed outline."""
    west, south, east, north = (float(f(v)) for f, v in ((np.min, x), (np.min, y), (np.max, x), (np.max, y)))
    return [(west, south), (west, north), (east, north), (east, south), (west, south)]


def sheet_layer(path: Path, declared: Declared, store: Store, kind: KindName) -> Layer:
    """Return the layer of a file that is kept whole: the declared one, else that of its name, else the kind's first.

    Raises:
        UnknownLayer: what is declared isn't a layer of the kind.

    """
    of_kind = store.catalog.of_kind(kind)
    if declared.layer:
        layer = store.catalog.layers.get(declared.layer)
    else:
        named = store.catalog.named_by((path.name.split(".")[0],))
        ground = store.catalog.with_role("ground")
        first = ground if ground in of_kind else next(iter(of_kind), None)
        layer = named if named and named.kind == kind else first
    if layer is None or layer.kind != kind:
        raise UnknownLayer(f"{path}: {declared.layer or 'the catalog'} isn't or has no layer of kind {kind}")
    return layer


def enter(cursor: Cursor, sheet: Sheet, store: Store, declared: Declared, load: int, report: FileReport) -> None:
    """Enter a sheet; the same id with another content ends the version before."""
    held = cursor.execute(
        "SELECT fid, sha256 FROM cim.asset WHERE layer = %s AND id = %s AND upper_inf(recorded) AND upper_inf(valid)",
        [sheet.layer, sheet.id],
    ).fetchone()
    same = cursor.execute(
        "SELECT 1 FROM cim.asset WHERE layer = %s AND sha256 = %s AND upper_inf(recorded) AND upper_inf(valid)",
        [sheet.layer, sheet.sha256],
    ).fetchone()
    if same:
        report.unchanged = sheet.records
        return
    dataset = declared.dataset or sheet.id
    since = datetime.combine(declared.date, datetime.min.time(), UTC) if declared.date else None
    if held:
        cursor.execute(
            """WITH closed AS (UPDATE cim.asset SET recorded = tstzrange(lower(recorded), now()) WHERE fid = %(fid)s
                               RETURNING *)
               INSERT INTO cim.asset (layer, id, sha256, footprint, about, valid, dataset, load, source)
               SELECT layer, id, sha256, footprint, about, tstzrange(lower(valid), %(since)s), dataset, load, source
               FROM closed WHERE %(since)s::timestamptz IS NOT NULL
                 AND (lower_inf(valid) OR lower(valid) < %(since)s::timestamptz)""",
            {"fid": held[0], "since": since},
        )
    cursor.execute(
        f"""INSERT INTO cim.asset (layer, id, sha256, footprint, about, valid, dataset, load, source)
            VALUES (%s, %s, %s, ST_GeomFromText(%s, {store.city.srid}), %s::jsonb, tstzrange(%s, NULL), %s, %s, %s)""",
        [
            sheet.layer,
            sheet.id,
            sheet.sha256,
            sheet.footprint,
            json.dumps(sheet.about),
            since,
            dataset,
            load,
            report.source,
        ],
    )
    cursor.execute(
        "INSERT INTO cim.outbox (layer, id, new_box) VALUES (%s, %s, Box2D(ST_GeomFromText(%s)))",
        [sheet.layer, sheet.id, sheet.footprint],
    )
    report.updated, report.loaded = (sheet.records, 0) if held else (0, sheet.records)
