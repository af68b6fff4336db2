"""A record that is set aside while rows are made: which it is, and why."""

import numpy as np
import shapely

from cim.features import Features
from ingest.formats.contract import Incoming
from ingest.load.columns import ID_NAMES


def label_of(features: Features, record: int) -> str:
    """Return what a record is called: its id, or what a column of ids says, else its place in the batch."""
    fields = features.attributes[record]
    named = (str(value) for name, value in fields.items() if name.casefold() in ID_NAMES and value not in (None, ""))
    place = (features.places[record] if features.places else None) or str(record + 1)
    return features.ids[record] or next(named, place if " " in place else f"record {place}")


def refuse(features: Features, record: int, reason: str, incoming: Incoming) -> None:
    """Set a record aside, with what it says and the shape it has, if that has a place."""
    shape = features.geometry[record]
    placed = shape is not None and bool(np.isfinite(shapely.get_coordinates(shape)).all())
    incoming.report.refuse(
        label_of(features, record),
        reason,
        layer=incoming.layer.id,
        source=features.attributes[record],
        wkb=shapely.to_wkb(shape) if placed else None,
    )
