"""Floor areas: what a building holds, whether it came whole, in parts, with storeys or only with a height."""

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from cim.analysis.engine.inputs import numbers
from cim.catalog.model import Layer

Float = NDArray[np.float64]
Int = NDArray[np.int64]


@dataclass(frozen=True)
class Floors:
    """Per building (rows without a parent, n): their rows in the frame, and their floor area."""

    rows: Int  # (n,) positions in the frame
    area_m2: Float  # (n,)
    assumed: int  # rows whose storeys were taken from their height, or as one


def layer_floors(buildings: gpd.GeoDataFrame, layer: Layer, storey_m: float) -> Floors:
    """Return the floor areas of a layer's buildings; storeys and heights that can't be count as not given.

    Args:
        buildings: of the layer; columns as `floors` takes them.
        layer: its fields say which values can be.
        storey_m: height of a storey where only the height is known.

    """
    possible = {column: numbers(buildings, layer, column)[0] for column in ("storeys", "height")}
    return floors(buildings.assign(**possible), storey_m)


def floors(buildings: gpd.GeoDataFrame, storey_m: float) -> Floors:
    """Return the floor area of each building: footprint times storeys, of its parts where it has some.

    Args:
        buildings: columns id, parent_id, storeys, height (m), geometry (footprints, metres).
        storey_m: height of a storey where only the height is known.

    """
    ids = buildings["id"].to_numpy(object)
    parents = buildings["parent_id"].fillna("").to_numpy(object)
    storeys = _numbers(buildings, "storeys")
    height = _numbers(buildings, "height")
    assumed = ~(storeys > 0)
    counted = np.where(assumed, np.maximum(np.rint(np.where(height > 0, height, 0) / storey_m), 1), storeys)
    floor_area_m2 = buildings.geometry.area.to_numpy(np.float64) * counted
    position = {identifier: k for k, identifier in enumerate(ids)}
    parent_row = np.array([position.get(p, -1) if p else -1 for p in parents], np.int64)
    has_parts = np.zeros(len(ids), bool)
    has_parts[parent_row[parent_row >= 0]] = True
    # to the top: parts of parts count for the whole building
    top = np.arange(len(ids))
    for _ in range(8):
        above = parent_row[top]
        if not (above >= 0).any():
            break
        top = np.where(above >= 0, above, top)
    total: Float = np.bincount(top, np.where(has_parts, 0.0, floor_area_m2), minlength=len(ids)).astype(np.float64)
    rows = np.flatnonzero(parent_row < 0)
    return Floors(rows, total[rows], int((assumed & ~has_parts).sum()))


def _numbers(frame: gpd.GeoDataFrame, column: str) -> Float:
    if column not in frame:
        return np.full(len(frame), np.nan)
    return np.asarray(frame[column].to_numpy(dtype=np.float64, na_value=np.nan))
