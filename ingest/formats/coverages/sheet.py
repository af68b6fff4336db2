"""Files that are kept whole, rasters and clouds: catalogued as dated sheets of their layer over the asset store."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from cim.catalog.model import KindName, Layer
from cim.errors import UnknownLayer
from cim.loads.load import DatasetNote
from cim.messages import say
from cim.reference.crs import Float
from cim.store.connection import Cursor, Store
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.formats.contract import Incoming

LEAST_COVERED = 0.99  # of the box of the version before; less than that isn't the rounding of an outline


@dataclass(frozen=True)
class Sheet:
    """What is catalogued of an asset."""

    layer: str
    name: str  # by which it is known again at its place
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
        raise UnknownLayer(say("layer-of-other-kind", file=path, layer=declared.layer or "the catalog", kind=kind))
    return layer


def enter(cursor: Cursor, sheet: Sheet, incoming: Incoming) -> None:
    """Enter a sheet: what is known is unchanged, at the place of one of its name it is a new version, else another one.

    A name derives from that of a file, and says little: the next village has its `dem.tif` too.
    """
    declared, report, load, srid = incoming.declared, incoming.report, incoming.load, incoming.srid
    sheet = replace(sheet, name=f"{incoming.id_prefix}{sheet.name}")
    since = incoming.city.clock.begins(declared.date) if declared.date else None
    public = declared.public is not False
    stored = _known(cursor, sheet, since, srid)
    if stored:
        report.datasets.append(_note(sheet, declared, declared.dataset or stored[2], report))
    if stored and stored[1] == public:
        report.unchanged = sheet.records
        return
    if stored:
        _correct_access(cursor, stored[0], load, report, public=public)
        report.updated = sheet.records
        return
    namesakes = _namesakes(cursor, sheet, srid, report)
    known_as = _known_as(namesakes, since, load)
    identifier = known_as or _free_id(cursor, sheet)
    versions = [version for version in namesakes if version.id == identifier]
    met = next((version for version in versions if version.holds(since)), None)
    dataset = declared.dataset or identifier
    report.datasets.append(_note(sheet, declared, dataset, report))
    if met:
        _warn_of_change(met, dataset, report)
    if identifier != sheet.name and known_as is None:
        report.warn(say("another-of-this-name"), [identifier])
    room = _room(cursor, met, versions, since)
    _write(cursor, sheet, identifier, dataset, room, srid, load, report, public=public, surveyed=declared.date)
    report.updated, report.loaded = (sheet.records, 0) if known_as else (0, sheet.records)


def _note(sheet: Sheet, declared: Declared, dataset: str, report: FileReport) -> DatasetNote:
    return DatasetNote(dataset, sheet.layer, declared.date, declared.licence, Path(report.path).name)


def _known(cursor: Cursor, sheet: Sheet, since: datetime | None, srid: int) -> tuple[int, bool, str] | None:
    """Return the version that has the same content at the same place then, whether it is public, and its dataset.

    Where a set of tiles stands an anchor says, not its content.
    """
    row: tuple[int, bool, str] | None = cursor.execute(
        f"""SELECT a.fid, a.public, a.dataset FROM cim.asset a
            WHERE a.layer = %(layer)s AND a.sha256 = %(sha256)s AND upper_inf(a.recorded)
              AND CASE WHEN %(since)s::timestamptz IS NULL THEN upper_inf(a.valid) ELSE a.valid @> %(since)s END
              AND a.footprint && ST_GeomFromText(%(footprint)s, {srid})
              AND NOT EXISTS (SELECT FROM jsonb_each(a.about) old JOIN jsonb_each(%(about)s::jsonb) new USING (key)
                              WHERE old.value <> new.value)""",
        {
            "layer": sheet.layer,
            "sha256": sheet.sha256,
            "since": since,
            "footprint": sheet.footprint,
            "about": json.dumps(sheet.about),
        },
    ).fetchone()
    return row


@dataclass(frozen=True)
class _Version:
    """A current version of a sheet that has a new one's name."""

    fid: int
    id: str
    since: datetime | None
    until: datetime | None
    load: int
    dataset: str
    meets: bool  # its box meets the new one's
    shared: float  # of what the two boxes cover, how much both do
    covered: float  # of its own box, how much the new one does
    same_file: bool

    def holds(self, moment: datetime | None) -> bool:
        """Whether a delivery of a date meets it; without a date: the open version."""
        if moment is None:
            return self.until is None
        return (self.since is None or self.since <= moment) and (self.until is None or moment < self.until)


def _namesakes(cursor: Cursor, sheet: Sheet, srid: int, report: FileReport) -> list[_Version]:
    """Return the current versions of sheets of the same name, the most alike in place first."""
    rows = cursor.execute(
        f"""WITH new AS (SELECT ST_Envelope(ST_GeomFromText(%(footprint)s, {srid})) AS box)
            SELECT a.fid, a.id, lower(a.valid), upper(a.valid), a.load, a.dataset, a.footprint && new.box,
                   coalesce(both_m2 / nullif(old_m2 + ST_Area(new.box) - both_m2, 0), 0),
                   coalesce(both_m2 / nullif(old_m2, 0), 1), coalesce(s.path = %(path)s, false)
            FROM new, cim.asset a LEFT JOIN cim.source s USING (source),
                 LATERAL (SELECT ST_Area(ST_Envelope(a.footprint)) AS old_m2,
                                 ST_Area(ST_Intersection(ST_Envelope(a.footprint), new.box)) AS both_m2) measured
            WHERE a.layer = %(layer)s AND coalesce(a.about->>'name', a.id) = %(name)s AND upper_inf(a.recorded)
            ORDER BY 8 DESC, 10 DESC, a.id COLLATE "C", lower(a.valid) DESC NULLS LAST""",
        {"footprint": sheet.footprint, "path": report.path, "layer": sheet.layer, "name": sheet.name},
    ).fetchall()
    return [_Version(*row) for row in rows]


def _known_as(namesakes: Sequence[_Version], since: datetime | None, load: int) -> str | None:
    """Return the id of the sheet whose place a delivery of a date takes; None: it is another one.

    Of two of one call neither takes the other's place, unless each has its date.
    """
    of_this_call = {v.id: v.since for v in namesakes if v.load == load and v.holds(since)}
    for version in namesakes:
        beside = version.id in of_this_call and (since is None or of_this_call[version.id] == since)
        if version.meets and not beside:
            return version.id
    return None


Moments = tuple[datetime | None, datetime | None]


def _room(cursor: Cursor, met: _Version | None, versions: Sequence[_Version], since: datetime | None) -> Moments:
    """Make room among the versions of a sheet for one of a date; return from when and until when that holds.

    As in `cim.store.merge`: what is met keeps the time before the date; of the same date, or of none, it is corrected
    whole.
    """
    if met is None and since is None:
        return max((v.until for v in versions if v.until), default=None), None
    if met is None:
        return since, min((v.since for v in versions if v.since and since and v.since > since), default=None)
    cursor.execute(
        """WITH closed AS (UPDATE cim.asset SET recorded = tstzrange(lower(recorded), now()) WHERE fid = %(fid)s
                           RETURNING *)
           INSERT INTO cim.asset (layer, id, sha256, footprint, about, valid, dataset, load, source, public, surveyed)
           SELECT layer, id, sha256, footprint, about, tstzrange(lower(valid), %(since)s), dataset, load, source,
                  public, surveyed
           FROM closed WHERE %(since)s::timestamptz IS NOT NULL
             AND (lower_inf(valid) OR lower(valid) < %(since)s::timestamptz)""",
        {"fid": met.fid, "since": since},
    )
    cursor.execute(
        """INSERT INTO cim.outbox (layer, id, old_box) SELECT layer, id, Box2D(footprint) FROM cim.asset
           WHERE fid = %s""",
        [met.fid],
    )
    return since if since is not None else met.since, met.until


def _write(
    cursor: Cursor,
    sheet: Sheet,
    identifier: str,
    dataset: str,
    valid: Moments,
    srid: int,
    load: int,
    report: FileReport,
    *,
    public: bool,
    surveyed: date | None,
) -> None:
    about = sheet.about if identifier == sheet.name else sheet.about | {"name": sheet.name}
    values = {
        "layer": sheet.layer, "id": identifier, "sha256": sheet.sha256, "footprint": sheet.footprint,
        "about": json.dumps(about), "since": valid[0], "until": valid[1], "dataset": dataset, "load": load,
        "source": report.source, "public": public, "surveyed": surveyed,
    }  # fmt: skip
    cursor.execute(
        f"""INSERT INTO cim.asset (layer, id, sha256, footprint, about, valid, dataset, load, source, public,
                                   surveyed)
            VALUES (%(layer)s, %(id)s, %(sha256)s, ST_GeomFromText(%(footprint)s, {srid}), %(about)s::jsonb,
                    tstzrange(%(since)s, %(until)s), %(dataset)s, %(load)s, %(source)s, %(public)s, %(surveyed)s)""",
        values,
    )
    cursor.execute(
        """INSERT INTO cim.outbox (layer, id, new_box)
           VALUES (%(layer)s, %(id)s, Box2D(ST_GeomFromText(%(footprint)s)))""",
        values,
    )
    cursor.execute(
        """INSERT INTO cim.moment SELECT %(layer)s, bound FROM (VALUES (%(since)s::timestamptz), (%(until)s)) b(bound)
           WHERE bound > now() ON CONFLICT DO NOTHING""",
        values,
    )


def _free_id(cursor: Cursor, sheet: Sheet) -> str:
    """Return an id that no sheet of the layer has: the name, else the name and the place of its middle in metres."""
    rows = cursor.execute(
        "SELECT DISTINCT id FROM cim.asset WHERE layer = %s AND upper_inf(recorded) AND starts_with(id, %s)",
        [sheet.layer, sheet.name],
    ).fetchall()
    taken = {row[0] for row in rows}
    x, y = np.mean(sheet.outline[:-1], axis=0)
    placed = f"{sheet.name}_{x:.0f}_{y:.0f}"
    ids = chain((sheet.name, placed), (f"{placed}_{number}" for number in count(2)))
    return next(identifier for identifier in ids if identifier not in taken)


def _warn_of_change(met: _Version, dataset: str, report: FileReport) -> None:
    """Say what isn't plain about a new version."""
    if met.dataset != dataset:
        report.warn(say("id-belonged-another-dataset"), [met.id])
    if met.covered < LEAST_COVERED:
        report.warn(say("version-before-reaches-farther"), [met.id])


def _correct_access(cursor: Cursor, fid: int, load: int, report: FileReport, *, public: bool) -> None:
    """Write the same sheet anew, seen by others than before."""
    cursor.execute(
        """WITH closed AS (UPDATE cim.asset SET recorded = tstzrange(lower(recorded), now()) WHERE fid = %(fid)s
                           RETURNING *),
                fresh AS (INSERT INTO cim.asset (layer, id, sha256, footprint, about, valid, dataset, load, source,
                                                 public, surveyed)
                          SELECT layer, id, sha256, footprint, about, valid, dataset, %(load)s, %(source)s, %(public)s,
                                 surveyed
                          FROM closed RETURNING *)
           INSERT INTO cim.outbox (layer, id, new_box) SELECT layer, id, Box2D(footprint) FROM fresh""",
        {"fid": fid, "load": load, "source": report.source, "public": public},
    )
