"""From a placed batch to rows of the store: bodies checked, footprints found, LoD1 raised, content hashed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from cim.catalog.common_columns import BY_NAME
from cim.catalog.model import Layer
from cim.clock import Clock
from cim.features import Features, take
from cim.geometry import body_batch, measures, outlines
from cim.geometry.body_batch import Float, Int, select
from cim.geometry.canonical import RESOLUTION_M, canonical, on_earth
from cim.geometry.faults import FAULTS, find_faults
from cim.geometry.stored_form import content_hash, encode
from cim.messages import say
from cim.store.binary_copy import ENCODERS, empty, encoded, wire_rows
from cim.store.schema import BODY_COLUMNS, record_columns
from ingest.formats.contract import Incoming
from ingest.load.columns import Mapped, map_fields, unknown_codes
from ingest.load.footprint_heights import raise_footprints
from ingest.load.refusal import label_of, refuse

UNKNOWN_CODE = "unknown_code"  # flag of an object with a value that its code list doesn't have
AIR_M = 1.0  # a building whose lowest point is this far above the highest ground around it doesn't stand on it


@dataclass(frozen=True)
class Rows:
    """A batch as the store takes it: records, and the bodies they name."""

    ids: list[str]
    content: list[bytes]
    records: list[bytes]  # as the wire has rows of `record_columns`
    bodies: list[bytes] = field(default_factory=list)  # as the wire has rows of `BODY_COLUMNS`


@dataclass(frozen=True)
class StoredBodies:
    """Bodies that the store has already, and an object keeps: their hashes by level, the highest last."""

    lods: tuple[str, ...] = ()
    hashes: tuple[bytes, ...] = ()
    flags: tuple[str, ...] = ()  # what is known of them


def prepare(features: Features, incoming: Incoming) -> Rows:
    """Make rows of a placed batch of one layer; what can't stand is refused in the report.

    Raises:
        NothingToLoad: footprints have heights, and neither terrain nor a base height says where they stand.

    """
    features = _standing_bodies(features, incoming)
    features = shaped(features, incoming)
    mapped = map_fields(features.attributes, incoming.layer, incoming.catalog, incoming.columns)
    mapped = mapped.by(Clock(incoming.timezone), incoming.layer)
    _fill_object_class(features, mapped, incoming.layer)
    features, mapped = _of_known_codes(features, mapped, incoming)
    features = _identified(features, mapped, incoming)
    ids = [str(identifier) for identifier in features.ids]
    flags: list[list[str]] = [[] for _ in ids]
    if incoming.layer.role == "buildings":
        _against_ground(features, ids, incoming)
    _flag_faults(features, ids, flags, incoming)
    _flag_unknown_codes(mapped, ids, flags, incoming)
    raised = raise_footprints(features, mapped, ids, flags, incoming)
    if not raised.standing.all():
        keep = np.flatnonzero(raised.standing).tolist()
        mapped = mapped.take(keep)
        ids, flags = [ids[r] for r in keep], [flags[r] for r in keep]
    features = take(raised.features, raised.standing)
    for warning, positions in mapped.misfits.items():
        incoming.report.warn(warning, [ids[p] for p in positions])
    return _rows(features, mapped, ids, flags, incoming)


def prepare_edited(
    features: Features,
    mapped: Mapped,
    incoming: Incoming,
    stays: StoredBodies | None,
    base_m: float | None = None,
) -> Rows:
    """Make rows of objects that were edited, placed and shaped, of their values in the layer's terms.

    Args:
        features: the objects, without bodies.
        mapped: their values.
        incoming: where they go, and what is declared of them.
        stays: the bodies that they keep; None: a footprint is raised to a block where its height is known.
        base_m: height on which that block stands; None: it stands on the ground, as one that is loaded.

    Raises:
        NothingToLoad: a footprint has a height, and neither terrain nor a base height says where it stands.

    """
    ids = [str(identifier) for identifier in features.ids]
    flags = [[flag for flag in (stays.flags if stays else ()) if flag != UNKNOWN_CODE] for _ in ids]
    _flag_unknown_codes(mapped, ids, flags, incoming)
    if stays is None:
        features = raise_footprints(features, mapped, ids, flags, incoming, base_m).features
    for warning, positions in mapped.misfits.items():
        incoming.report.warn(warning, [ids[p] for p in positions])
    return _rows(features, mapped, ids, flags, incoming, stays)


def _standing_bodies(features: Features, incoming: Incoming) -> Features:
    """Keep canonical, outward-facing bodies; refuse records none of whose bodies has a valid surface."""
    report = incoming.report
    if not len(features.bodies):
        return features
    outcome = canonical(features.bodies)
    record = features.body_record
    standing = outcome.bodies
    inside_out = measures.closed(standing) & (measures.volumes(standing) < 0)
    if inside_out.any():
        standing = canonical(body_batch.reversed_faces(standing, inside_out)).bodies
        report.warn(say("inside-out"), _names(features, record[outcome.valid][inside_out]))
    if (dropped := outcome.dropped_faces[outcome.valid] > 0).any():
        names = _names(features, record[outcome.valid][dropped])
        report.warn(say("faces-fewer-than-three-distinct"), names)
    lost = np.bincount(record[~outcome.valid], minlength=len(features))
    left = np.bincount(record[outcome.valid], minlength=len(features))
    finite = on_earth(features.bodies.vertices)
    broken = np.zeros(len(features), bool)
    broken[record[features.bodies.body_of_index[~finite[features.bodies.indices]]]] = True
    refused = (lost > 0) & (left == 0)
    for r in np.flatnonzero(refused):
        why = say("coordinate-not-number-nan") if broken[r] else say("no-valid-surface")
        refuse(features, int(r), why, incoming)
    if (partly := (lost > 0) & (left > 0)).any():
        report.warn(say("level-detail-without-valid-surface"), _names(features, np.flatnonzero(partly)))
    placed = replace(
        features,
        bodies=standing,
        body_record=record[outcome.valid],
        body_lod=[lod for lod, valid in zip(features.body_lod, outcome.valid, strict=True) if valid],
    )
    return take(placed, ~refused)


def _names(features: Features, records: Int) -> list[str]:
    return [label_of(features, r) for r in dict.fromkeys(records.tolist())]


def shaped(features: Features, incoming: Incoming) -> Features:
    """Give every record a valid geometry of the layer's type; refuse those that can't have one."""
    report, layer = incoming.report, incoming.layer
    shapes = features.geometry.copy()
    if layer.geometry == "MultiPolygon":
        rings = shapely.get_type_id(shapes) == shapely.GeometryType.LINEARRING
        shapes[rings] = shapely.polygons(shapes[rings])
    if len(features.bodies) and layer.geometry == "MultiPolygon":
        shapes = _footprints_from_bodies(features, shapes)
    reasons: dict[int, str] = {}
    missing = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    for r in np.flatnonzero(missing):
        reasons[int(r)] = say("no-geometry")
    coordinates, owner = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    placed = on_earth(np.nan_to_num(coordinates, nan=0.0)) & np.isfinite(coordinates[:, :2]).all(axis=1)
    for r in np.unique(owner[~placed]):  # a height may be unknown
        reasons[int(r)] = say("coordinate-not-number")
    good = np.array([r not in reasons for r in range(len(features))], bool)
    invalid = good & ~shapely.is_valid(shapes)
    if invalid.any():
        shapes[invalid] = shapely.make_valid(shapes[invalid], method="structure", keep_collapsed=False)
        report.warn(say("geometry-not-valid"), _names(features, np.flatnonzero(invalid)))
    before = shapely.get_type_id(shapes)
    shapes = _as_type(shapes, layer)
    for r in np.flatnonzero(good & (shapely.is_missing(shapes) | shapely.is_empty(shapes))):
        kind = shapely.GeometryType(before[r]).name.title()
        reasons[int(r)] = say("geometry-of-other-type", kind=kind, layer=layer.id, geometry=layer.geometry)
    for r, reason in sorted(reasons.items()):
        refuse(features, r, reason, incoming)
    keep = np.array([r not in reasons for r in range(len(features))], bool)
    return take(replace(features, geometry=shapes), keep)


def _footprints_from_bodies(features: Features, shapes: NDArray[Any]) -> NDArray[Any]:
    """Take footprints from LoD0, else from the highest LoD; a parent without geometry has its parts' union."""
    order = np.array([_lod_order(lod) for lod in features.body_lod])
    rank = np.where(order < 1, np.inf, order)  # LoD0 is a footprint already
    by_record = np.lexsort((rank, features.body_record))
    record = features.body_record[by_record]
    last = np.append(record[1:] != record[:-1], True)
    chosen, chosen_record = by_record[last], record[last]
    shapes[chosen_record] = outlines.footprints(select(features.bodies, chosen))
    bare = np.flatnonzero(shapely.is_missing(shapes))
    if len(bare):
        row = {identifier: r for r, identifier in enumerate(features.ids)}
        parent = np.array([row.get(p or "", -1) for p in features.parent_id], np.int64)
        of_bare = np.isin(parent, bare) & ~shapely.is_missing(shapes)
        merged = outlines.merged_polygons(shapes[of_bare], parent[of_bare], len(features))
        shapes[bare] = merged[bare]
    return shapes


def _lod_order(lod: str) -> float:
    try:
        return float(lod)
    except ValueError:
        return 0.5


def _as_type(shapes: NDArray[Any], layer: Layer) -> NDArray[Any]:
    """Return shapes in the layer's one type; None where a shape isn't of it."""
    if layer.geometry == "MultiPolygon":
        polygons = outlines.as_multipolygons(shapes)
        # one ring start, order and direction, whatever format the polygon came in
        return np.asarray(shapely.orient_polygons(shapely.normalize(polygons)))
    kinds = shapely.get_type_id(shapes)
    result = np.full(len(shapes), None, object)
    if layer.geometry == "MultiLineString":
        single = np.isin(kinds, (shapely.GeometryType.LINESTRING, shapely.GeometryType.LINEARRING))
        if single.any():
            result[single] = shapely.multilinestrings(shapes[single].reshape(-1, 1))
        multi = kinds == shapely.GeometryType.MULTILINESTRING
    else:
        multi = kinds == shapely.GeometryType.POINT
        lone = (kinds == shapely.GeometryType.MULTIPOINT) & (shapely.get_num_geometries(shapes) == 1)
        result[lone] = shapely.get_geometry(shapes[lone], 0)
    result[multi] = shapes[multi]
    return result


def _against_ground(features: Features, ids: list[str], incoming: Incoming) -> None:
    """Warn of buildings whose bodies stand in the air or lie under the terrain; their parts may do as they like."""
    if not incoming.ground.files or not len(features.bodies):
        return
    whole = np.array([parent is None for parent in features.parent_id], bool)
    whole_bodies = np.flatnonzero(whole[features.body_record])
    if not len(whole_bodies):
        return
    low, high = measures.z_ranges(features.bodies)
    points, owner = shapely.get_coordinates(features.geometry[features.body_record[whole_bodies]], return_index=True)
    ground = incoming.ground(points[:, 0], points[:, 1])
    lowest, highest = np.full(len(whole_bodies), np.inf), np.full(len(whole_bodies), -np.inf)
    np.fmin.at(lowest, owner, ground)
    np.fmax.at(highest, owner, ground)
    has_ground = np.isfinite(lowest)
    for warning, wrong in (
        (say("stands-in-the-air", air_m=AIR_M), has_ground & (low[whole_bodies] > highest + AIR_M)),
        (say("lies-under-terrain"), has_ground & (high[whole_bodies] < lowest)),
    ):
        if wrong.any():
            incoming.report.warn(warning, [ids[r] for r in np.unique(features.body_record[whole_bodies[wrong]])])


def _fill_object_class(features: Features, mapped: Mapped, layer: Layer) -> None:
    target = layer.field("object_class")
    if target:
        given = mapped.columns[target.name]
        mapped.columns[target.name] = [g or c for g, c in zip(given, features.object_class, strict=True)]


def _identified(features: Features, mapped: Mapped, incoming: Incoming) -> Features:
    """Settle ids: the source's, else a hash of geometry and attributes. The place of those that have one is dropped."""
    ids: list[str] = []
    named: list[str | None] = []  # what the source calls them, where that isn't their id
    prefix, places = incoming.id_prefix, features.places or [None] * len(features)
    for r, (source_id, column) in enumerate(zip(features.ids, mapped.ids, strict=True)):
        identifier = column or source_id
        identifier = identifier and identifier.replace("\x00", "")
        named.append(places[r] if not identifier else identifier if prefix else None)
        if not identifier:
            values = {name: mapped.columns[name][r] for name in mapped.columns if mapped.columns[name][r] is not None}
            values |= mapped.extra[r] or {}
            text = ENCODERS["jsonb"](dict(sorted((k, str(v)) for k, v in values.items())))
            rounded = shapely.set_precision(features.geometry[r], 1e-3, mode="pointwise")
            identifier = content_hash(shapely.to_wkb(rounded, output_dimension=2), text).hex()
        ids.append(prefix + identifier)
    prefixed = [p and prefix + p for p in features.parent_id]
    return replace(features, ids=list(ids), parent_id=prefixed, places=named)


def _flag_faults(features: Features, ids: list[str], flags: list[list[str]], incoming: Incoming) -> None:
    """Flag what the checks find in the bodies that the source gave; those raised from footprints are made whole."""
    for fault, faulty in zip(FAULTS, find_faults(features.bodies), strict=True):
        if faulty.any():
            wrong = np.unique(features.body_record[faulty]).tolist()
            incoming.report.warn(fault.warning, [ids[r] for r in wrong])
            for r in wrong:
                flags[r].append(fault.flag)


def _of_known_codes(features: Features, mapped: Mapped, incoming: Incoming) -> tuple[Features, Mapped]:
    """Refuse records with a value that a closed code list doesn't have."""
    unknown = unknown_codes(mapped.columns, incoming.layer, incoming.catalog)
    sentences = {record: u.sentence for u in unknown if u.codes.closed for record in u.records}
    if not sentences:
        return features, mapped
    for record, sentence in sorted(sentences.items()):
        refuse(features, record, sentence, incoming)
    stands = np.array([record not in sentences for record in range(len(features))], bool)
    return take(features, stands), mapped.take(np.flatnonzero(stands).tolist())


def _flag_unknown_codes(mapped: Mapped, ids: list[str], flags: list[list[str]], incoming: Incoming) -> None:
    """Flag objects with a value that its code list doesn't have: it is kept, and no map or table may lose it."""
    for unknown in unknown_codes(mapped.columns, incoming.layer, incoming.catalog):
        incoming.report.warn(unknown.sentence, [ids[r] for r in unknown.records])
        for record in unknown.records:
            if UNKNOWN_CODE not in flags[record]:
                flags[record].append(UNKNOWN_CODE)


def _rows(
    features: Features,
    mapped: Mapped,
    ids: list[str],
    flags: list[list[str]],
    incoming: Incoming,
    stays: StoredBodies | None = None,
) -> Rows:
    layer = incoming.layer
    wkb = shapely.to_wkb(shapely.set_srid(_on_raster(features.geometry), incoming.srid), include_srid=True)
    blobs = encode(features.bodies)
    hashes = [content_hash(blob) for blob in blobs]
    is_closed = measures.closed(features.bodies)
    solid_lods = {lod for lod in set(features.body_lod) if _lod_order(lod) >= 1}
    solid = np.array([lod in solid_lods for lod in features.body_lod], bool)
    open_records = np.unique(features.body_record[~is_closed & solid]) if len(solid) else np.empty(0, np.int64)
    if len(open_records):
        incoming.report.warn(say("open-surface"), [ids[r] for r in open_records])
    lods, lists = _versions_bodies(features, hashes)
    if stays and stays.hashes:
        lods, lists = [list(stays.lods)] * len(ids), [list(stays.hashes)] * len(ids)
    columns: dict[str, Sequence[Any]] = {
        "id": ids,
        "geom": wkb,
        "lods": lods,
        "bodies": lists,
        "parent_id": features.parent_id,
        "flags": [f or None for f in flags],
        "extra": [dict(sorted(extra.items())) if extra else None for extra in mapped.extra],
        "record": features.places or [None] * len(ids),
        "derived_from": features.derived_from or [None] * len(ids),
        **mapped.columns,
    }
    records = {c.name: encoded(c, columns[c.name]) for c in record_columns(layer) if c.name != "content"}
    content = _content(records)
    low, high = measures.z_ranges(features.bodies)
    volume = measures.volumes(features.bodies)
    stored = {h: b for b, h in enumerate(hashes)}
    order = list(stored.values())
    bodies: list[Sequence[Any]] = [
        list(stored),
        is_closed[order].tolist(),
        low[order].tolist(),
        high[order].tolist(),
        [v if c else None for v, c in zip(volume[order].tolist(), is_closed[order].tolist(), strict=True)],
        [blobs[b] for b in order],
    ]
    records["content"] = [*content]
    return Rows(
        ids,
        content,
        wire_rows([records[c.name] for c in record_columns(layer)]),
        wire_rows([encoded(c, values) for c, values in zip(BODY_COLUMNS, bodies, strict=True)]),
    )


def _on_raster(shapes: NDArray[Any]) -> NDArray[Any]:
    """Return shapes with coordinates on the raster of the bodies, so that noise of an operation is no change."""

    def snap(points: Float) -> Float:
        return np.asarray(np.rint(points / RESOLUTION_M) * RESOLUTION_M)

    flat = ~shapely.has_z(shapes)
    result = shapes.copy()
    result[flat] = shapely.transform(shapes[flat], snap)
    result[~flat] = shapely.transform(shapes[~flat], snap, include_z=True)
    return result


def _versions_bodies(
    features: Features, hashes: list[bytes]
) -> tuple[list[list[str] | None], list[list[bytes] | None]]:
    """Return per record the levels of detail and the hashes of its bodies, the highest level last."""
    lods: list[list[str] | None] = [None] * len(features)
    lists: list[list[bytes] | None] = [None] * len(features)
    if len(np.unique(features.body_record)) == len(hashes):
        for record, lod, hashed in zip(features.body_record.tolist(), features.body_lod, hashes, strict=True):
            lods[record], lists[record] = [lod], [hashed]
        return lods, lists
    rank = {lod: (_lod_order(lod), lod) for lod in set(features.body_lod)}
    order = sorted(range(len(hashes)), key=lambda b: rank[features.body_lod[b]])
    record_of = features.body_record.tolist()
    for b in order:
        record = record_of[b]
        record_lods, record_hashes = lods[record], lists[record]
        if record_lods is None or record_hashes is None:
            lods[record], lists[record] = [features.body_lod[b]], [hashes[b]]
        else:
            record_lods.append(features.body_lod[b])
            record_hashes.append(hashes[b])
    return lods, lists


def _content(records: Mapping[str, Sequence[bytes | None]]) -> list[bytes]:
    """Return the hash of what makes a record's content: geometry, bodies, fields, and what is kept in extra."""
    parts = []
    for name, values in records.items():
        if (name not in BY_NAME or BY_NAME[name].content) and not empty(values):
            tag = name.encode() + b"\0"
            parts.append([b"" if value is None else tag + value for value in values])
    return [content_hash(*of_record) for of_record in zip(*parts, strict=True)]
