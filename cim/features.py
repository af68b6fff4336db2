"""What a reader gives: a header and batches of records, still in the source's coordinates and names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from cim.catalog.model import Catalog, Layer
from cim.geometry.body_batch import Bodies, Bool, empty, select

BATCH_SIZE = 5_000


@dataclass(frozen=True)
class Refusal:
    """A record that was set aside: which, and why."""

    id: str
    reason: str
    source: Mapping[str, Any] | None = None  # what the record says, by the source's names


@dataclass(frozen=True)
class Features:
    """A batch of n records.

    A record has a plane geometry, bodies, or both. Its coordinates are in the source's CRS, x before y.
    """

    ids: list[str | None]  # None: the source gives none
    attributes: list[dict[str, Any]]
    geometry: NDArray[Any]  # (n,) shapely geometries or None
    object_class: list[str | None]
    parent_id: list[str | None]
    bodies: Bodies = field(default_factory=empty)
    body_record: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))  # (B,) record of each body
    body_lod: list[str] = field(default_factory=list)  # (B,) level of detail as the source names it
    refused: tuple[Refusal, ...] = ()
    warnings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # what was repaired or dropped → ids
    derived_from: Sequence[bytes | None] | None = None  # (n,) content of the stored version that each was derived from
    places: Sequence[str | None] | None = None  # (n,) where each stands in its file, such as "line 12"; None: not known

    def __len__(self) -> int:
        return len(self.ids)


def take(features: Features, keep: Bool) -> Features:
    """Return the records of a mask, with their bodies."""
    positions = np.flatnonzero(keep)
    if len(positions) == len(features):
        return features
    renumbered = np.full(len(features), -1, np.int64)
    renumbered[positions] = np.arange(len(positions))
    kept_bodies = np.flatnonzero(keep[features.body_record])
    return replace(
        features,
        ids=[features.ids[p] for p in positions],
        attributes=[features.attributes[p] for p in positions],
        geometry=features.geometry[positions],
        object_class=[features.object_class[p] for p in positions],
        parent_id=[features.parent_id[p] for p in positions],
        bodies=select(features.bodies, kept_bodies),
        body_record=renumbered[features.body_record[kept_bodies]],
        body_lod=[features.body_lod[b] for b in kept_bodies],
        refused=(),
        warnings={},
        places=[features.places[p] for p in positions] if features.places else None,
        derived_from=[features.derived_from[p] for p in positions] if features.derived_from else None,
    )


@dataclass(frozen=True)
class Header:
    """What a file says about all its records."""

    crs: CRS | None = None  # horizontal, compound or 3D
    surveyed: date | None = None
    title: str | None = None
    licence: str | None = None
    layer_hint: str = ""  # name of the table, else the file's stem
    warnings: tuple[str, ...] = ()
    spatial: bool = True  # records have places, so that a CRS must be known
    unit_m: float | None = None  # metres of a unit of x and y; None: that of the CRS
    z_unit_m: float = 1.0
    images: Path | None = None  # folder that the images of its surfaces lie below; None: it has none


@dataclass(frozen=True)
class Source:
    """One table of a file: its header, and its records as an iterator that reads on demand."""

    header: Header
    batches: Iterator[Features]
    parts: Sequence[Callable[[], Iterator[Features]]] = ()  # the same batches, for processes that share a big file


@dataclass(frozen=True)
class Anchor:
    """Where the origin of a model stands, and how the model is turned and scaled there."""

    place: tuple[float, float, float]  # longitude, latitude (or x and y of a declared CRS), height in metres
    heading: float = 0.0  # degrees clockwise from north of the model's y
    up: str = ""  # the model's axis that is up, y or z; empty: as its format has it
    unit_m: float = 1.0


@dataclass(frozen=True)
class ReadOptions:
    """What a reader may have to be told: what the user says of the file, and which layers the city has."""

    catalog: Catalog
    encoding: str | None = None
    crs: CRS | None = None  # as it is declared beside the file; None: not at all, or shifted coordinates
    layers: Mapping[str, str] = field(default_factory=dict)  # class of the file, or a pattern of such → layer's id
    anchor: Anchor | None = None  # of a model that knows no place
    workers: int = 1  # processes that a reader may use
    root: Path | None = None  # folder that nothing a file names may lie outside of; None: the owner's own file

    def layer_of(self, object_class: str) -> Layer | None:
        """Return the layer of a class: what is declared, else what the catalog says; None: neither knows it."""
        for pattern, layer in self.layers.items():
            if fnmatchcase(object_class, pattern):
                return self.catalog.layers.get(layer)
        return self.catalog.layer_by_object_class.get(object_class)
