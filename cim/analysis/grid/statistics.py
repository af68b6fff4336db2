"""`cell_statistics`: objects and an indicator by cell; each object has one owner, and nothing is lost."""

from collections.abc import Mapping
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import field_validator

from cim.analysis.engine import parameters
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.registry import Inputs, Need, Progress
from cim.analysis.engine.result import Check, Output, Result
from cim.analysis.planning.floors import floors
from cim.catalog.model import Catalog, Layer, Text
from cim.errors import BadRequest

Float = NDArray[np.float64]
Int = NDArray[np.int64]
COUNT, FLOOR_AREA = "count", "floor_area"
H3_FINEST = 15


class Parameters(parameters.Parameters):
    """What is counted, and by which cells."""

    layer: str | None = titled("图层", "Layer", choices="layers", default=None, description="none: buildings")
    cells: str = titled("单元", "Cells", choices="areas", description="a polygon layer, or h3:N")
    indicator: str = titled("指标", "Indicator", choices="fields", default=FLOOR_AREA)
    where: str | None = titled("条件", "Filter", default=None, description="CQL2: only these objects")

    @field_validator("cells")
    @classmethod
    def _known(cls, cells: str) -> str:
        if cells.startswith("h3:") and not (cells[3:].isdigit() and int(cells[3:]) <= H3_FINEST):
            raise ValueError(f"{cells!r}: h3:0 to h3:{H3_FINEST}")
        return cells


OUTPUTS = (
    Output("id", Text(zh="单元", en="Cell")),
    Output("name", Text(zh="名称", en="Name")),
    Output("count", Text(zh="数量", en="Count"), "1", Text(zh="归属该单元的对象数", en="objects that the cell owns")),
    Output("sum", Text(zh="指标合计", en="Sum"), None, Text(zh="其指标之和", en="sum of their indicator")),
    Output("per_km2", Text(zh="每平方公里", en="Per km²"), "/km2", Text(zh="合计除以面积", en="sum over area")),
    Output("total", Text(zh="总计", en="Total"), None, Text(zh="各单元合计之和", en="sum over all cells")),
)


def needs(asked: Parameters, catalog: Catalog) -> Mapping[str, Need]:
    """Return the layers: the objects, and the cells where they are a layer."""
    found = {"objects": Need(_objects(asked, catalog), asked.where, required=False)}
    if not asked.cells.startswith("h3:"):
        layer = catalog.layer(asked.cells)
        if layer.geometry != "MultiPolygon":
            raise BadRequest(f"cells={asked.cells}: {asked.cells} isn't a layer of polygons")
        found["cells"] = Need(layer)
    return found


def _objects(asked: Parameters, catalog: Catalog) -> Layer:
    layer = catalog.layer(asked.layer) if asked.layer else catalog.with_role("buildings")
    if layer is None or layer.geometry is None:
        raise BadRequest(f"layer={asked.layer}: it has no objects with a place")
    return layer


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return a row a cell."""
    frame = inputs.frames["objects"]
    objects, values, extent_of = measured(frame, asked.indicator, inputs.assumptions["storey_height"])
    progress(0.4, "owners")
    points = anchors(frame.geometry.to_numpy()[objects])
    if "cells" in inputs.frames:
        cells = inputs.frames["cells"]
        owner = owners(points, cells.geometry.to_numpy(), cells["id"].to_numpy(object))
    else:
        cells, owner = hexagons(gpd.GeoSeries(points, crs=frame.crs), int(asked.cells[3:]))
    progress(0.8, "sums")
    statistics = cell_statistics(owner, values, len(cells))
    named = cells["name"] if "name" in cells else cells["id"]
    area_km2 = cells.geometry.area.to_numpy() / 1e6
    total = float(statistics.sums.sum())
    gdf = gpd.GeoDataFrame(
        {
            "id": cells["id"].to_numpy(object),
            "name": named.to_numpy(object),
            "count": statistics.counts,
            "sum": statistics.sums,
            "per_km2": statistics.sums / np.where(area_km2 > 0, area_km2, np.nan),
            "total": total,
        },
        geometry=cells.geometry.to_numpy(),
        crs=frame.crs,
    )
    everything = float(values.sum())
    lost = everything - total - statistics.outside_sum
    check = Check(
        abs(lost) <= 1e-9 * max(1.0, abs(everything))
        and len(values) == int(statistics.counts.sum()) + statistics.outside_count,
        "sum over cells + outside = all objects",
        {"cells": total, "outside": statistics.outside_sum, "all": everything, "lost": lost,
         "objects": float(len(values)), "outside_objects": float(statistics.outside_count)},
    )  # fmt: skip
    figures = {
        "total": total,
        "count": int(statistics.counts.sum()),
        "outside": {"count": statistics.outside_count, "sum": statistics.outside_sum},
        "indicator": asked.indicator,
        "assumed": extent_of,
    }
    return Result(gdf, check, figures)


def measured(frame: gpd.GeoDataFrame, indicator: str, storey_m: float) -> tuple[Int, Float, int]:
    """Return the rows that are objects, the indicator of each, and of how many something was assumed.

    An object is a row without a parent. Floor area is of the parts where there are some.

    Raises:
        BadRequest: the indicator is none of count, floor_area or a numeric column.

    """
    whole = np.flatnonzero(frame["parent_id"].isna().to_numpy()) if "parent_id" in frame else np.arange(len(frame))
    if indicator == COUNT:
        return whole, np.ones(len(whole)), 0
    if indicator == FLOOR_AREA:
        found = floors(frame, storey_m)
        return found.rows, found.area_m2, found.assumed
    if indicator not in frame or frame[indicator].dtype.kind not in "if":
        numeric = [c for c in frame.columns if c != "geometry" and frame[c].dtype.kind in "if"]
        raise BadRequest(f"indicator={indicator}: {COUNT}, {FLOOR_AREA}, {', '.join(numeric)}")
    values = frame[indicator].to_numpy(dtype=np.float64, na_value=np.nan)[whole]
    return whole, np.where(np.isnan(values), 0.0, values), int(np.isnan(values).sum())


def anchors(shapes: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the point that decides to whom each object belongs: its centroid, or a point inside where that isn't."""
    centroids = shapely.centroid(shapes)
    outside = ~shapely.intersects(centroids, shapes)
    centroids[outside] = shapely.point_on_surface(shapes[outside])
    return np.asarray(centroids)


def owners(points: NDArray[np.object_], cells: NDArray[np.object_], ids: NDArray[np.object_]) -> Int:
    """Return the cell that owns each point, -1 outside all; on an edge, the one whose id comes first.

    Args:
        points: (n,) points.
        cells: (m,) polygons.
        ids: (m,) their ids.

    """
    rank = np.empty(len(cells), np.int64)
    rank[np.argsort(ids.astype(str), kind="stable")] = np.arange(len(cells))
    point, cell = shapely.STRtree(cells).query(points, predicate="intersects")
    best = np.full(len(points), len(cells), np.int64)
    np.minimum.at(best, point, rank[cell])
    by_rank = np.append(np.argsort(rank), -1)
    return np.asarray(by_rank[best])


def hexagons(points: gpd.GeoSeries, resolution: int) -> tuple[gpd.GeoDataFrame, Int]:
    """Return the H3 cells that hold points, and the cell of each point."""
    import h3

    degrees = points.to_crs(4326)
    names = np.array(
        [h3.latlng_to_cell(y, x, resolution) for x, y in zip(degrees.x, degrees.y, strict=True)], dtype=object
    )
    if not len(names):
        return gpd.GeoDataFrame({"id": []}, geometry=[], crs=points.crs), np.empty(0, np.int64)
    ids, owner = np.unique(names.astype(str), return_inverse=True)
    shapes = [shapely.Polygon([(lon, lat) for lat, lon in h3.cell_to_boundary(name)]) for name in ids]
    frame = gpd.GeoDataFrame({"id": ids.astype(object)}, geometry=shapes, crs=4326)
    return frame.to_crs(points.crs), owner.astype(np.int64)


@dataclass(frozen=True)
class CellStatistics:
    """Per cell (m,): how many it owns and the sum of their values; and what no cell owns."""

    counts: Int
    sums: Float
    outside_count: int
    outside_sum: float


def cell_statistics(owner: Int, values: Float, cells: int) -> CellStatistics:
    """Count and sum by owner.

    Args:
        owner: (n,) cell of each object, -1: none.
        values: (n,) the indicator.
        cells: how many there are.

    """
    inside = owner >= 0
    return CellStatistics(
        np.bincount(owner[inside], minlength=cells),
        np.bincount(owner[inside], values[inside], minlength=cells).astype(np.float64),
        int((~inside).sum()),
        float(values[~inside].sum()),
    )
