"""One object edited: a GeoJSON feature goes the way of a delivery of one record, with its own load and audit row."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import shapely
from pyproj import CRS
from shapely.errors import ShapelyError
from shapely.geometry import shape

from cim.access.asker import Asker
from cim.access.audit import note
from cim.catalog.assumptions import STOREY_HEIGHT, read_assumptions
from cim.catalog.model import Layer
from cim.errors import BadRequest, CimError, NotFound
from cim.features import Features, Header
from cim.geometry.bodies import decode
from cim.loads.load import begin_load
from cim.read.terrain import ground_of
from cim.store.connection import Cursor, Store
from cim.store.merge import Delivery, create_staging, end_versions, merge, stage_records, store_bodies
from cim.store.schema import table
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.load.place import place, placement
from ingest.load.prepare import Preparation, prepare

Action = Literal["create", "replace", "delete"]
# members of a feature's properties that the store says, and nobody sets
READ_ONLY = frozenset(
    {"class_code", "dataset", "load", "valid_from", "valid_until", "lods", "flags", "parent_id", "id"}
)
SAME_M = 1e-3  # a footprint that moved less is the same, and its bodies stay
EDITS = "edits"


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


def apply_edit(cursor: Cursor, store: Store, edit: Edit, asker: Asker) -> Edited:
    """Apply an edit in the caller's transaction.

    Raises:
        BadRequest: the feature can't be read, or can't stand in the layer.
        NotFound: there is no such object to delete.

    """
    if edit.layer.geometry is None:
        raise BadRequest(f"{edit.layer.id} isn't edited object by object")
    cursor.execute("SELECT pg_advisory_xact_lock(hashtext('cim.load'))")
    load = begin_load(cursor, asker)
    edited = _delete(cursor, edit, load) if edit.action == "delete" else _put(cursor, store, edit, load)
    said: dict[str, Any] = {
        "edit": edited.action,
        "layer": edit.layer.id,
        "id": edit.id,
        "account": asker.account,
        "files": [],
    }
    cursor.execute(
        "UPDATE cim.load SET report = %s::jsonb WHERE load = %s", [json.dumps(said, ensure_ascii=False), load]
    )
    moment = edit.at.isoformat() if edit.at else None
    detail = {"at": moment, "warnings": edited.warnings}
    note(cursor, edited.action, asker=asker, layer=edit.layer.id, identifier=edit.id, load=load, detail=detail)
    return edited


def _delete(cursor: Cursor, edit: Edit, load: int) -> Edited:
    if not end_versions(cursor, edit.layer, [edit.id], edit.at or datetime.now(UTC)):
        raise NotFound(f"no {edit.layer.id} {edit.id} at that moment")
    return Edited(edit.id, "deleted", load)


def _put(cursor: Cursor, store: Store, edit: Edit, load: int) -> Edited:
    layer, feature = edit.layer, edit.feature or {}
    report = FileReport(f"{layer.id}/{edit.id}")
    before = _current(cursor, edit)
    public = before.public if before else True
    if edit.action == "create" and before:
        raise BadRequest(f"there is a {layer.id} {edit.id} already: PUT replaces it")
    properties = feature.get("properties") or {}
    attributes = {k: v for k, v in properties.items() if k not in READ_ONLY and k != "extra"}
    attributes |= {k: v for k, v in (properties.get("extra") or {}).items() if k not in attributes}
    batch = Features(
        ids=[edit.id],
        attributes=[attributes],
        geometry=np.array([_geometry(feature)], object),
        object_class=[None],
        parent_id=[before.parent if before else None],
    )
    header = Header(crs=CRS.from_user_input(edit.crs), layer_hint=layer.id)
    batch = place(batch, placement(header, Declared(vertical_datum="city"), store.city, report.path), report)
    if before and before.bodies and _same_body(layer, batch.geometry[0], attributes, before):
        record = np.zeros(len(before.bodies), np.int64)
        bodies = decode(list(before.bodies))
        batch = replace(batch, bodies=bodies, body_record=record, body_lod=list(before.lods))
    preparation = Preparation(
        layer=layer, catalog=store.catalog, columns={}, id_prefix="", srid=store.city.srid,
        timezone=store.city.timezone, ground=ground_of(cursor, store, public_only=public), report=report,
        where=report.path, storey_m=read_assumptions(store.city.catalog)[STOREY_HEIGHT],
    )  # fmt: skip
    try:
        rows = prepare(batch, preparation)
    except CimError as error:
        raise BadRequest(str(error)) from error
    if report.refused:
        raise BadRequest(f"{layer.id} {edit.id}: {', '.join(report.reasons)}")
    create_staging(cursor, layer)
    if rows.bodies:
        store_bodies(cursor, rows.bodies)
    stage_records(cursor, layer, rows.records)
    dataset = before.dataset if before else EDITS
    cursor.execute("INSERT INTO cim.dataset (name) VALUES (%s) ON CONFLICT DO NOTHING", [dataset])
    outcome = merge(cursor, Delivery(layer, dataset, load, edit.at, public=public))
    action = "created" if outcome.loaded else "replaced" if outcome.updated else "unchanged"
    return Edited(edit.id, action, load, tuple(report.warned))


@dataclass(frozen=True)
class _Version:
    """An object as it is before an edit."""

    geometry: Any
    parent: str | None
    dataset: str
    public: bool
    height: Any
    storeys: Any
    lods: tuple[str, ...]
    bodies: tuple[bytes, ...]


def _current(cursor: Cursor, edit: Edit) -> _Version | None:
    layer = edit.layer
    height, storeys = layer.field("height"), layer.field("storeys")
    columns = ", ".join(f'v."{f.name}"' if f else "NULL" for f in (height, storeys))
    row = cursor.execute(
        f"""SELECT ST_AsBinary(ST_Force2D(v.geom)), v.parent_id, v.dataset, v.public, {columns}, v.lods, (
                SELECT array_agg(b.faces ORDER BY n) FROM unnest(v.bodies) WITH ORDINALITY AS u(hash, n)
                JOIN cim.body b USING (hash))
            FROM {table(layer)} v
            WHERE v.id = %s AND upper_inf(v.recorded) AND v.valid @> coalesce(%s::timestamptz, now())""",
        [edit.id, edit.at],
    ).fetchone()
    if row is None:
        return None
    bodies = tuple(bytes(b) for b in row[7] or ())
    _, parent, dataset, public, height_m, storey_count, lods, _ = row
    shape_before = shapely.from_wkb(bytes(row[0]))
    return _Version(shape_before, parent, dataset, public, height_m, storey_count, tuple(lods or ()), bodies)


def _geometry(feature: Mapping[str, Any]) -> Any:
    if feature.get("type") != "Feature" or not isinstance(feature.get("geometry"), dict):
        raise BadRequest("the body must be a GeoJSON Feature with a geometry")
    try:
        return shape(feature["geometry"])
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ShapelyError) as fault:
        raise BadRequest(f"its geometry isn't GeoJSON: {fault}") from fault


def _same_body(layer: Layer, geometry: Any, attributes: Mapping[str, Any], before: _Version) -> bool:
    """Whether footprint, height and storeys stay, so that the bodies do."""
    if shapely.hausdorff_distance(geometry, before.geometry) >= SAME_M:
        return False
    known = ((layer.field("height"), before.height), (layer.field("storeys"), before.storeys))
    return all(f is None or value is None or attributes.get(f.name) == value for f, value in known)
