"""How high a footprint stands and rises: by its own height, by storeys, on the ground."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely

from cim.catalog.model import Layer
from cim.errors import NothingToLoad
from cim.features import Features
from cim.geometry import extrusion
from cim.geometry.body_batch import Bool, Float, Int, concatenate
from cim.geometry.canonical import canonical
from cim.messages import say
from ingest.formats.contract import Incoming
from ingest.load.columns import Mapped
from ingest.load.refusal import refuse


@dataclass(frozen=True)
class Raised:
    """A batch with its LoD1 bodies; a record without ground under it doesn't stand."""

    features: Features
    standing: Bool  # (n,)


def raise_footprints(
    features: Features,
    mapped: Mapped,
    ids: list[str],
    flags: list[list[str]],
    incoming: Incoming,
    base_m: float | None = None,
) -> Raised:
    """Raise footprints with a height or storeys to LoD1 bodies; flag those that have neither.

    They stand at `base_m`, where that is known already.
    """
    standing = np.ones(len(ids), bool)
    layer, report = incoming.layer, incoming.report
    if layer.field("height") is None or layer.geometry != "MultiPolygon":
        return Raised(features, standing)
    bare = np.ones(len(ids), bool)
    bare[features.body_record] = False
    parents = set(features.parent_id) - {None}
    bare &= np.array([identifier not in parents for identifier in ids], bool)
    if not bare.any():
        return Raised(features, standing)
    height, from_storeys = heights_of(layer, mapped, incoming.storey_m)
    from_storeys &= bare
    for r in np.flatnonzero(from_storeys):
        flags[r].append("height_from_storeys")
    unknown = bare & ~(height > 0)
    for r in np.flatnonzero(unknown):
        flags[r].append("no_height")
    if unknown.any():
        report.warn(say("no-height-no-storeys"), [ids[r] for r in np.flatnonzero(unknown)])
    if from_storeys.any():
        names = [ids[r] for r in np.flatnonzero(from_storeys)]
        report.warn(say("height-assumed-storeys-m-each", storey_m=incoming.storey_m), names)
    rise = np.flatnonzero(bare & (height > 0))
    if not len(rise):
        return Raised(features, standing)
    base_given = base_m is not None
    base = np.full(len(rise), base_m) if base_given else _base_heights(features, mapped, rise, ids, incoming)
    standing[rise[np.isnan(base)]] = False
    rise, base = rise[~np.isnan(base)], base[~np.isnan(base)]
    if not len(rise):
        return Raised(features, standing)
    prisms = canonical(extrusion.extrude(features.geometry[rise], base, height[rise])).bodies
    with_prisms = replace(
        features,
        bodies=concatenate([features.bodies, prisms]),
        body_record=np.concatenate([features.body_record, rise]),
        body_lod=[*features.body_lod, *["1"] * len(rise)],
    )
    return Raised(with_prisms, standing)


def heights_of(layer: Layer, mapped: Mapped, storey_m: float) -> tuple[Float, Bool]:
    """Return how high records say that they are, in metres, NaN where they don't; and where only storeys tell."""
    height_field, storeys_field = layer.field("height"), layer.field("storeys")
    unknown = np.full(len(mapped.extra), np.nan)
    height = _numbers(mapped.columns[height_field.name]) if height_field else unknown
    storeys = _numbers(mapped.columns[storeys_field.name]) if storeys_field else unknown
    from_storeys = ~(height > 0) & (storeys > 0)
    height = np.where(from_storeys, storeys * storey_m, height)
    return np.where(height > 0, height, np.nan), from_storeys


def _numbers(values: Sequence[Any]) -> Float:
    return np.array([np.nan if v is None else float(v) for v in values], np.float64)


def _base_heights(features: Features, mapped: Mapped, rise: Int, ids: list[str], incoming: Incoming) -> Float:
    """Return where footprints stand: on the lowest terrain under their outline, else on the file's base height.

    One of a batch without either is refused, and NaN here; where that is most of the batch, terrain was forgotten.

    Raises:
        NothingToLoad: neither terrain nor a base height says where most of them stand.

    """
    points, owner = shapely.get_coordinates(features.geometry[rise], return_index=True)
    ground = incoming.ground(points[:, 0], points[:, 1])
    base = np.full(len(rise), np.inf)
    np.minimum.at(base, owner, np.where(np.isnan(ground), np.inf, ground))
    base[np.bincount(owner, np.isnan(ground), minlength=len(rise)) > 0] = np.nan
    base_field = incoming.layer.field("base")
    if base_field and np.isnan(base).any():
        declared = _numbers([mapped.columns[base_field.name][r] for r in rise])
        base = np.where(np.isnan(base), declared, base)
    if np.isnan(base).any():
        lost = [ids[r] for r in rise[np.isnan(base)]]
        if len(lost) <= len(ids) / 2:
            for record in rise[np.isnan(base)]:
                refuse(features, int(record), say("height-without-ground"), incoming)
            return base
        raise NothingToLoad(
            say("footprints-have-height", file=incoming.where, count=len(lost), lost=", ".join(lost[:3]))
        )
    return base
