"""The kinds of layers: one row each says what follows from it. Nothing else asks which kind a layer is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from cim.catalog.model import KindName, Layer
from cim.store import schema

# by what a layer is tiled (`tiles.tilers`) and drawn (`services/viewer/src/layers`): a row in each
Drawing = Literal["features", "ground", "cloud", "sets"]


@dataclass(frozen=True)
class Kind:
    """What a kind of layer means to the store and to whoever reads it."""

    create: Callable[[Layer, int], list[str]]  # layer, SRID → the statements that make or upgrade its table
    has_history: bool = False  # versions of one id follow each other; no two may overlap
    drawn: bool = False  # its table holds geometry that vector tiles, signs and labels derive from
    stored: bool = True  # its table holds rows of its own, which loads write
    instants: bool = False  # a row holds at one moment: without a time asked, all of them are meant
    drawing: Drawing | None = None  # None: it isn't drawn on the map
    tiled: Callable[[Layer], bool] = lambda _: False  # whether tiles are made of a layer
    counted: bool = False  # a person reads how many objects it holds
    takes_records: bool = False  # a table of a delivery can go into it


KINDS: Mapping[KindName, Kind] = {
    "feature": Kind(
        schema.create_features,
        has_history=True,
        drawn=True,
        drawing="features",
        tiled=lambda layer: layer.leaf_level is not None,
        counted=True,
        takes_records=True,
    ),
    "raster": Kind(
        partial(schema.create_sheets, suffix=".tif"),
        stored=False,
        drawing="ground",
        tiled=lambda layer: layer.role == "ground",
    ),
    "points": Kind(
        partial(schema.create_sheets, suffix=".laz"), stored=False, drawing="cloud", tiled=lambda _: True, counted=True
    ),
    "tileset": Kind(
        partial(schema.create_sheets, suffix=".zip"), stored=False, drawing="sets", tiled=lambda _: True, counted=True
    ),
    "observation": Kind(schema.create_observations, instants=True, takes_records=True),
}


def kind_of(layer: Layer) -> Kind:
    """Return what a layer's kind means."""
    return KINDS[layer.kind]
