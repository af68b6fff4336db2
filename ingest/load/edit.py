"""One object edited: a GeoJSON feature goes the way of a delivery of one record, with its own load and audit row.

What didn't change stays as it is stored: heights that an editor doesn't know, bodies with their levels, surfaces and
looks, values that who edits doesn't see. A body follows a change where footprint and height explain it: such a block is
raised anew. One that was measured stays while its footprint does, whatever is said of its height, and ends with it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape as read_geojson

from cim.access.asker import Asker
from cim.catalog.common_columns import COMMON_COLUMNS
from cim.catalog.model import Layer
from cim.clock import Clock
from cim.errors import BadRequest, CimError, LayerBusy, NotFound
from cim.features import Features, Header
from cim.geometry.measures import z_ranges
from cim.geometry.stored_form import decode
from cim.loads.load import DatasetNote, Load, wait_at_most
from cim.loads.load import load as begin_load
from cim.messages import say
from cim.read.terrain import ground_of
from cim.reference.crs import parse
from cim.store.connection import Cursor, LockNotAvailable, Store
from cim.store.merge import Delivery, create_staging, end_versions, merge, stage_records, store_bodies
from cim.store.schema import table
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.formats.contract import Incoming
from ingest.load.columns import ID_NAMES, Mapped, map_fields, unknown_codes
from ingest.load.footprint_heights import heights_of
from ingest.load.place import Placement, place, placement
from ingest.load.prepare import Rows, StoredBodies, prepare_edited, shaped
from ingest.load.shapes import BLOCK_M, Restored, is_block, restored

Action = Literal["create", "replace", "delete"]
# members of a feature's properties that the store says, and nobody sets
READ_ONLY = frozenset(c.name for c in COMMON_COLUMNS if c.title and not c.editable)
SERVED = frozenset({"OGC:CRS84", "EPSG:4326"})  # degrees, in which `/ogc` serves what comes back
BLOCK = ("1",)  # the levels of detail of a footprint that was raised
EDITS = "edits"
AS_SERVED = Clock("UTC")  # in which `/ogc` serves times, which an editor may put back without their offset


@dataclass(frozen=True)
class Edit:
    """What is to be done to which object, by whom."""

    layer: Layer
    id: str
    action: Action
    feature: Mapping[str, Any] | None = None  # GeoJSON
    crs: str = "OGC:CRS84"  # of its geometry, x before y
    at: datetime | None = None  # the change holds from this moment of city time; None: it corrects what is known


@dataclass(frozen=True)
class Edited:
    """What became of an edit."""

    id: str
    action: str  # created, replaced, unchanged, deleted
    load: int | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Version:
    """An object as it is stored before an edit."""

    shape: Any  # with its heights
    values: Mapping[str, Any]  # field → value
    extra: Mapping[str, Any]
    bodies: StoredBodies
    parent: str | None
    has_parts: bool  # which have the bodies
    dataset: str
    public: bool
    derived_from: bytes | None
    surveyed: date | None
    open: bool  # it has no end yet
    faces: tuple[bytes, ...] = ()  # of the bodies

    @cached_property
    def mapped(self) -> Mapped:
        """Its values as a batch of one."""
        return Mapped({name: [value] for name, value in self.values.items()}, [dict(self.extra) or None], [None], {})


def apply_edit(cursor: Cursor, store: Store, edit: Edit, asker: Asker, wait_s: float | None = None) -> Edited:
    """Apply an edit as a load of its own, in a transaction that the caller commits.

    Args:
        cursor: of a connection that is in no transaction.
        store: the city.
        edit: what is to be done.
        asker: on whose behalf.
        wait_s: how long it waits for what another load holds; None: as long as it takes.

    Raises:
        BadRequest: the feature can't be read, or can't stand in the layer.
        NotFound: there is no such object to delete.
        LayerBusy: another load holds the layer, or the very body that is made, for longer.

    """
    layer = edit.layer
    if layer.geometry is None:
        raise BadRequest(say("not-edited-object-object", layer=layer.id))
    try:
        with begin_load(cursor, asker, edit.action, [layer.id], wait_s=wait_s) as load:
            wait_at_most(cursor, wait_s)
            edited = _delete(cursor, edit, load) if edit.action == "delete" else _put(cursor, store, edit, asker, load)
            report: dict[str, Any] = {
                "edit": edited.action,
                "layer": layer.id,
                "id": edit.id,
                "account": asker.account,
                "files": [],
            }
            load.action, load.layer, load.identifier, load.report = edited.action, layer.id, edit.id, report
            load.detail = {"at": edit.at and edit.at.isoformat(), "warnings": edited.warnings}
    except LockNotAvailable as fault:
        raise LayerBusy(say("another-load-writing-what-needs", layer=layer.id, object=edit.id)) from fault
    return edited


def _delete(cursor: Cursor, edit: Edit, load: Load) -> Edited:
    if not end_versions(cursor, edit.layer, [edit.id], edit.at or datetime.now(UTC)):
        raise NotFound(say("no-object-at-that-moment", layer=edit.layer.id, object=edit.id))
    return Edited(edit.id, "deleted", load.number)


def _put(cursor: Cursor, store: Store, edit: Edit, asker: Asker, load: Load) -> Edited:
    layer = edit.layer
    report = FileReport(f"{layer.id}/{edit.id}")
    edit = replace(edit, at=_beginning(cursor, edit))
    before = _current(cursor, edit)
    public = before.public if before else True
    if edit.action == "create" and before:
        raise BadRequest(say("object-exists-already", layer=layer.id, object=edit.id))
    incoming = Incoming(
        path=Path(report.path), declared=Declared(vertical_datum="city"), store=store, load=load.number, report=report,
        ground=ground_of(cursor, store, public_only=public), into=layer,
    )  # fmt: skip
    mapped = _mapped(edit, before, asker, store)
    for unknown in unknown_codes(mapped.columns, layer, store.catalog):
        if unknown.codes.closed:
            raise BadRequest(say("object-refused", layer=layer.id, object=edit.id, reason=unknown.sentence))
    batch = _shaped(cursor, edit, incoming)
    rows = _changed(batch, mapped, incoming, before) if before else _rows(batch, mapped, incoming, Standing(None))
    if rows is None:
        return Edited(edit.id, "unchanged", load.number, tuple(report.warned))
    dataset = before.dataset if before else EDITS
    create_staging(cursor, layer)
    if rows.bodies:
        store_bodies(cursor, rows.bodies)
    stage_records(cursor, layer, rows.records)
    if not cursor.execute("SELECT 1 FROM cim.dataset WHERE name = %s", [dataset]).fetchone():
        load.datasets.append(DatasetNote(dataset, layer.id))
    at = edit.at or (None if before is None or before.open else datetime.now(UTC))
    surveyed = before.surveyed if before else None  # an edit is no survey
    outcome = merge(cursor, Delivery(layer, dataset, load.number, at, public=public, surveyed=surveyed))
    action = "created" if outcome.loaded else "replaced" if outcome.updated else "unchanged"
    return Edited(edit.id, action, load.number, tuple(report.warned))


def _changed(batch: Features, mapped: Mapped, incoming: Incoming, before: Version) -> Rows | None:
    """Return the row of an object as an edit leaves it; None: nothing of it changes."""
    shape = restored(batch.geometry[0], before.shape)
    standing = _standing(incoming, before, shape, mapped)
    if shape.unchanged and mapped.columns == before.mapped.columns and mapped.extra == before.mapped.extra:
        return None
    if shape.guessed:
        incoming.report.warn(say("heights-new-vertices-taken-nearest"))
    edited = replace(
        batch,
        geometry=np.array([shape.shape], object),
        parent_id=[before.parent],
        derived_from=[before.derived_from if standing.stay == before.bodies else None],
    )
    return _rows(edited, mapped, incoming, standing)


def _rows(batch: Features, mapped: Mapped, incoming: Incoming, standing: "Standing") -> Rows:
    try:
        return prepare_edited(batch, mapped, incoming, standing.stay, standing.base_m)
    except CimError as error:
        raise BadRequest(error.message) from error


def _current(cursor: Cursor, edit: Edit) -> Version | None:
    """Return the version that an edit changes: the one of its moment; without one the one of now, else the open one."""
    layer = edit.layer
    fields = "".join(f', v."{f.name}"' for f in layer.fields)
    row = cursor.execute(
        f"""SELECT ST_AsBinary(v.geom), v.extra, v.lods, v.bodies, v.flags, v.parent_id, v.dataset, v.public,
                   v.derived_from, v.surveyed, upper_inf(v.valid),
                   EXISTS (SELECT FROM {table(layer)} p WHERE p.parent_id = v.id AND upper_inf(p.recorded)),
                   (SELECT array_agg(b.faces ORDER BY n) FROM unnest(v.bodies) WITH ORDINALITY AS u(hash, n)
                    JOIN cim.body b USING (hash)){fields}
            FROM {table(layer)} v
            WHERE v.id = %(id)s AND upper_inf(v.recorded) AND (v.valid @> coalesce(%(at)s::timestamptz, now())
                  OR %(at)s::timestamptz IS NULL AND upper_inf(v.valid))
            ORDER BY v.valid @> coalesce(%(at)s::timestamptz, now()) DESC LIMIT 1""",
        {"id": edit.id, "at": edit.at},
    ).fetchone()
    if row is None:
        return None
    wkb, extra, lods, hashes, flags, parent, dataset, public, derived_from, surveyed, *rest = row
    is_open, has_parts, faces, *values = rest
    return Version(
        shape=shapely.from_wkb(bytes(wkb)),
        values=dict(zip((f.name for f in layer.fields), values, strict=True)),
        extra=extra or {},
        bodies=StoredBodies(tuple(lods or ()), tuple(bytes(h) for h in hashes or ()), tuple(flags or ())),
        parent=parent,
        has_parts=has_parts,
        dataset=dataset,
        public=public,
        derived_from=derived_from and bytes(derived_from),
        surveyed=surveyed,
        open=is_open,
        faces=tuple(bytes(f) for f in faces or ()),
    )


def _beginning(cursor: Cursor, edit: Edit) -> datetime | None:
    """Return the moment of an edit; one that an editor cut to seconds is that at which a version begins."""
    if edit.at is None:
        return None
    row = cursor.execute(
        f"""SELECT min(lower(v.valid)) FROM {table(edit.layer)} v WHERE v.id = %(id)s AND upper_inf(v.recorded)
            AND lower(v.valid) >= %(at)s AND lower(v.valid) < %(at)s + interval '1 second'""",
        {"id": edit.id, "at": edit.at},
    ).fetchone()
    return row[0] if row and row[0] else edit.at


def _mapped(edit: Edit, before: Version | None, asker: Asker, store: Store) -> Mapped:
    """Return the values that a feature gives, in the layer's terms: what is left out is gone, what is masked stays."""
    layer = edit.layer
    properties = (edit.feature or {}).get("properties") or {}
    if not isinstance(properties, dict):
        raise BadRequest(say("properties-feature-object"))
    names = {f.name for f in layer.fields}
    editable = {k: v for k, v in properties.items() if k not in READ_ONLY and k != "extra"}
    rest = _extra(properties) | {k: v for k, v in editable.items() if k not in names}
    stored = before.extra if before else {}
    # what stays in extra isn't looked at again: a name there may be an alias of a field
    stays = {k: v for k, v in rest.items() if (k in stored and stored[k] == v) or k.casefold() in ID_NAMES}
    given = {k: v for k, v in editable.items() if k in names} | {k: v for k, v in rest.items() if k not in stays}
    mapped = map_fields([given], layer, store.catalog, {}).by(AS_SERVED, layer)
    extra = {k: v for k, v in (stays | (mapped.extra[0] or {})).items() if v is not None}
    columns = dict(mapped.columns)
    for f in layer.fields:
        if before and f.sensitive and not asker.sees_sensitive and columns[f.name] == [None]:
            columns[f.name] = [before.values[f.name]]
    return Mapped(columns, [extra or None], [None], mapped.misfits)


def _extra(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the member `extra`; an editor that knows no nested values hands it back as the text of it."""
    extra = properties.get("extra")
    if isinstance(extra, str) and extra.strip():
        try:
            extra = json.loads(extra)
        except ValueError as fault:
            raise BadRequest(say("extra-not-json-since", reason=fault)) from fault
    if extra and not isinstance(extra, dict):
        raise BadRequest(say("extra-not-json-object"))
    return dict(extra or {})


def _shaped(cursor: Cursor, edit: Edit, incoming: Incoming) -> Features:
    """Return the object as a batch of one, in the city's CRS and the layer's type of geometry."""
    report = incoming.report
    batch = Features(
        ids=[edit.id],
        attributes=[{}],
        geometry=np.array([_geometry(edit.feature or {})], object),
        object_class=[None],
        parent_id=[None],
    )
    header = Header(crs=parse(edit.crs), layer_hint=edit.layer.id)
    placing = placement(incoming.of_table(header, None))
    batch = shaped(place(batch, placing, report), incoming)
    if report.refused:
        reason = next(iter(report.reasons))
        raise BadRequest(say("object-refused", layer=edit.layer.id, object=edit.id, reason=reason))
    if edit.crs not in SERVED:
        return batch
    return replace(batch, geometry=_as_served(cursor, batch.geometry, placing))


def _as_served(cursor: Cursor, shapes: Any, placing: Placement) -> Any:
    """Return shapes where `/ogc` shows them: it serves by an operation of PostGIS's, not always the best one.

    For EPSG:2056 the two differ by 2 cm, for EPSG:31468 by a metre; by so much an object would wander at each edit.
    """
    west, south, east, north = shapely.total_bounds(shapes).tolist()
    x, y = (west + east) / 2, (south + north) / 2
    srid = placing.city.srid
    row = cursor.execute(
        f"""SELECT ST_X(p), ST_Y(p)
            FROM (SELECT ST_Transform(ST_SetSRID(ST_MakePoint(%s, %s), {srid}), 4326) AS p) served""",
        [x, y],
    ).fetchone()
    if row is None:
        return shapes
    back_x, back_y = placing.operation(np.array([row[0]]), np.array([row[1]]))
    points = shapely.get_coordinates(shapes, include_z=bool(shapely.has_z(shapes).any()))
    points[:, :2] += [x - back_x[0], y - back_y[0]]
    return shapely.set_coordinates(shapes.copy(), points)


def _geometry(feature: Mapping[str, Any]) -> Any:
    if feature.get("type") != "Feature" or not isinstance(feature.get("geometry"), dict):
        raise BadRequest(say("body-must-geojson-feature-geometry"))
    try:
        return read_geojson(feature["geometry"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ShapelyError) as fault:
        raise BadRequest(say("geometry-of-feature-not-geojson", reason=fault)) from fault


@dataclass(frozen=True)
class Standing:
    """What becomes of an object's bodies."""

    stay: StoredBodies | None  # None: its footprint is raised to a block, where its height is known
    base_m: float | None = None  # on which that block stands; None: on the ground


def _standing(incoming: Incoming, before: Version, shape: Restored, mapped: Mapped) -> Standing:
    """Return what becomes of an object's bodies where it is edited so."""
    layer, report, storey_m = incoming.layer, incoming.report, incoming.storey_m
    measured = before.bodies.hashes and not _is_block(layer, before, storey_m)
    lod = before.bodies.lods[-1] if before.bodies.lods else ""
    raises = layer.field("height") is not None and layer.geometry == "MultiPolygon"
    if not shape.unmoved:
        if measured:
            report.warn(say("footprint-moved", lod=lod))
        return Standing(None if raises and not before.has_parts else StoredBodies())
    (was,), _ = heights_of(layer, before.mapped, storey_m)
    (now,), _ = heights_of(layer, mapped, storey_m)
    higher = not np.array_equal([was], [now], equal_nan=True)
    stood, stands = _base_heights(layer, before, mapped) if raises and not measured else (None, None)
    if not raises or before.has_parts or not (higher or stood != stands):  # what stands there may be its parts
        return Standing(before.bodies)
    if measured:
        report.warn(say("lod-was-measured", lod=lod))
        return Standing(before.bodies)
    return Standing(None, stands)


def _is_block(layer: Layer, before: Version, storey_m: float) -> bool:
    """Whether footprint and height explain the object's body: it was raised from them, or might have been."""
    (height,), _ = heights_of(layer, before.mapped, storey_m)
    return before.bodies.lods == BLOCK and is_block(decode(before.faces), before.shape, float(height))


def _base_heights(layer: Layer, before: Version, mapped: Mapped) -> tuple[float | None, float | None]:
    """Return on which heights an object's block stood and stands: the ground's don't change, nor what stood there."""
    if not before.faces:
        return None, None
    low, _ = z_ranges(decode(before.faces))
    stood, base = float(low[0]), layer.field("base")
    was, now = (before.values[base.name], mapped.columns[base.name][0]) if base else (None, None)
    follows = was is not None and now is not None and now != was and abs(stood - was) < BLOCK_M
    return stood, float(now) if follows and now is not None else stood
