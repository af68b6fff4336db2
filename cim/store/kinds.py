"""The kinds of layers: one row each says what follows from it. Nothing else asks which kind a layer is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from cim.catalog.model import KindName, Layer
from cim.store import schema


@dataclass(frozen=True)
class Kind:
    """What a kind of layer means to the store and to whoever reads it."""

    create: Callable[[Layer, int], list[str]]  # layer, SRID → the statements that make or upgrade its table
    has_history: bool = False  # versions of one id follow each other; no two may overlap
    drawn: bool = False  # its table holds geometry that vector tiles, signs and labels derive from
    stored: bool = True  # its table holds rows of its own, which loads write
    sets: bool = False  # its sheets are sets of 3D tiles that others made
    octree: bool = False  # its sheets are clouds, shown as an octree of points
    instants: bool = False  # a row holds at one moment: without a time asked, all of them are meant


KINDS: Mapping[KindName, Kind] = {
    "feature": Kind(schema.create_features, has_history=True, drawn=True),
    "raster": Kind(partial(schema.create_sheets, suffix=".tif"), stored=False),
    "points": Kind(partial(schema.create_sheets, suffix=".laz"), stored=False, octree=True),
    "tileset": Kind(partial(schema.create_sheets, suffix=".zip"), stored=False, sets=True),
    "observation": Kind(schema.create_observations, instants=True),
}


def kind_of(layer: Layer) -> Kind:
    """Return what a layer's kind means."""
    return KINDS[layer.kind]
