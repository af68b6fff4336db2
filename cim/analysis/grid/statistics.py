"""`cell_statistics`: objects and an indicator by cell; an object is one cell's, or its value is shared out by area."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import field_validator

from cim.analysis.engine import parameters
from cim.analysis.engine.declaration import Declaration, Legend, Output, Progress
from cim.analysis.engine.inputs import Inputs, not_empty, numbers
from cim.analysis.engine.parameters import titled
from cim.analysis.engine.result import Check, Result, all_of, rows_of
from cim.analysis.engine.unknown import Unknown, absent, too_few
from cim.analysis.planning.floors import layer_floors
from cim.catalog.assumptions import STOREY_HEIGHT
from cim.catalog.model import Catalog, Layer
from cim.catalog.row import Text
from cim.errors import BadRequest
from cim.messages import say

Float = NDArray[np.float64]
Int = NDArray[np.int64]
COUNT, FLOOR_AREA = "count", "floor_area"
H3_FINEST = 15
MOST_HEXAGONS = 500_000


class Parameters(parameters.Parameters):
    """What is counted, and by which cells."""

    layer: str | None = titled("图层", "Layer", choices="layers", default=None, description="none: buildings")
    cells: str = titled("单元", "Cells", choices="areas", description="a polygon layer, or h3:N")
    indicator: str | None = titled(
        "指标", "Indicator", choices="fields", default=None,
        description="none: floor area of buildings, else the count",
        also=(
            (FLOOR_AREA, Text(zh="建筑面积 (m²)", en="Floor area (m²)"), "buildings"),
            (COUNT, Text(zh="数量", en="Count"), None),
        ),
    )  # fmt: skip
    statistic: Literal["sum", "mean"] = titled(
        "统计", "Statistic", default="sum", description="mean: also of what has no sum, such as storeys"
    )
    share: Literal["auto", "whole", "area"] = titled(
        "归属", "Belonging", default="auto",
        description="whole: an object is one cell's; area: its value is shared out by area; auto: by area where "
        "objects are larger than a quarter of a cell",
    )  # fmt: skip
    where: str | None = titled("条件", "Filter", default=None, description="CQL2: only these objects")

    @field_validator("cells")
    @classmethod
    def _h3_or_layer(cls, cells: str) -> str:
        if cells.startswith("h3:") and not (cells[3:].isdigit() and int(cells[3:]) <= H3_FINEST):
            raise ValueError(f"{cells!r}: h3:0 to h3:{H3_FINEST}")
        return cells


COLUMNS = (
    Output("id", Text(zh="单元", en="Cell"), shown=False),
    Output("name", Text(zh="名称", en="Name")),
    Output("count", Text(zh="数量", en="Count"), "1", Text(zh="归属该单元的对象数", en="objects that the cell owns")),
    Output("sum", Text(zh="指标合计", en="Sum"), None, Text(zh="其指标之和", en="sum of their indicator")),
    Output("mean", Text(zh="平均值", en="Mean"), None, Text(zh="有值对象的平均", en="over objects that have a value")),
    Output("without_value", Text(zh="无值对象", en="Without a value"), "1", shown=False),
    Output("per_km2", Text(zh="每平方公里", en="Per km²"), "/km2", Text(zh="合计除以面积", en="sum over area")),
    Output("total", Text(zh="总计", en="Total"), None, Text(zh="各单元合计之和", en="sum over all cells"), shown=False),
)
FIGURES = (
    Output(
        "total", Text(zh="总计", en="Total"), None, Text(zh="各单元合计之和", en="sum over all cells"), headline=True
    ),
    Output("count", Text(zh="数量", en="Count"), "1", Text(zh="各单元的对象数", en="objects of all cells")),
    Output(
        "outside", Text(zh="单元之外", en="Outside all cells"),
        parts=(Output("count", Text(zh="数量", en="Count"), "1"), Output("sum", Text(zh="合计", en="Sum"))),
    ),
    Output("indicator", Text(zh="指标", en="Indicator"), shown=False),
    Output("share", Text(zh="归属", en="Belonging"), shown=False),
    Output(
        "assumed", Text(zh="推定", en="Assumed"), "1", Text(zh="其层数为推定的对象", en="objects with assumed storeys")
    ),
    Output("without_value", Text(zh="无值对象", en="Without a value"), "1", shown=False),
)  # fmt: skip


def run(asked: Parameters, inputs: Inputs, progress: Progress) -> Result:
    """Return a row a cell."""
    layer = _objects(asked, inputs.catalog)
    cell_layer = None if asked.cells.startswith("h3:") else _cells(asked, inputs.catalog)
    indicator = asked.indicator or (FLOOR_AREA if layer.role == "buildings" else COUNT)
    frame = inputs.frame(layer, where=asked.where)
    measured = measure(frame, layer, indicator, asked.statistic, inputs.assumptions[STOREY_HEIGHT])
    objects = frame.geometry.to_numpy()[measured.rows]
    progress(0.4, "cells")
    if cell_layer:
        cells = not_empty(inputs.frame(cell_layer, columns=("name",)), cell_layer)
    else:
        cells = hexagons(gpd.GeoSeries(anchors(objects), crs=frame.crs), int(asked.cells[3:]))
    by_area = asked.share == "area" or (asked.share == "auto" and larger_than_cells(objects, cells.geometry.to_numpy()))
    if by_area and cell_layer is None:
        cells = hexagons(gpd.GeoSeries(objects, crs=frame.crs), int(asked.cells[3:]))
    shapes, ids = cells.geometry.to_numpy(), cells["id"].to_numpy(object)
    owner = owners(anchors(objects), shapes, ids)
    progress(0.7, "sums")
    statistics = cell_statistics(owner, measured.values, len(cells))
    if by_area:
        statistics = shared_by_area(statistics, objects, measured.values, shapes)
    rows = _rows(cells, statistics, asked, layer if frame.empty else None)
    names = [c.name for c in COLUMNS if c.name != ("mean" if asked.statistic == "sum" else "sum")]
    figures: dict[str, Any] = {
        "total": absent(layer) if frame.empty else float(statistics.sums.sum()),
        "count": int(statistics.counts.sum()),
        "outside": {"count": statistics.outside_count, "sum": statistics.outside_sum},
        "indicator": indicator,
        "share": "area" if by_area else "whole",
        "assumed": measured.assumed,
        "without_value": int(np.isnan(measured.values).sum()),
    }
    if asked.statistic == "mean":
        figures["total"] = Unknown(Text(zh="平均值没有总计", en="means have no total"))
    check = all_of([_nothing_lost(statistics, measured.values), _of_cells_size(objects, shapes, by_area=by_area)])
    notes = tuple(_notes(measured, layer, indicator))
    return Result(rows_of(rows, names, frame.crs), check, figures, notes=notes, drawn_by=asked.statistic)


def _objects(asked: Parameters, catalog: Catalog) -> Layer:
    layer = catalog.layer(asked.layer) if asked.layer else catalog.with_role("buildings")
    if layer is None or layer.geometry is None:
        raise BadRequest(say("has-no-objects-place", layer=asked.layer))
    return layer


def _cells(asked: Parameters, catalog: Catalog) -> Layer:
    layer = catalog.layer(asked.cells)
    if layer.geometry != "MultiPolygon":
        raise BadRequest(say("not-layer-polygons", cells=asked.cells))
    return layer


@dataclass(frozen=True)
class Measured:
    """The indicator of each object (n,): its row in the frame, its value (NaN: none), and what was done to values."""

    rows: Int
    values: Float
    assumed: int = 0  # values that rest on an assumption
    impossible: int = 0  # values outside the field's range, which count as none


def measure(frame: gpd.GeoDataFrame, layer: Layer, indicator: str, statistic: str, storey_m: float) -> Measured:
    """Return the indicator of each object. An object is a row without a parent; floor area is of the parts.

    Args:
        frame: objects of the layer.
        layer: whose fields may be the indicator.
        indicator: `count`, `floor_area`, or a numeric field.
        statistic: `sum` asks for a field that may be summed.
        storey_m: height of a storey where a building has no number of them.

    Raises:
        BadRequest: the indicator is none of those, or a sum of it means nothing.

    """
    whole = np.flatnonzero(frame["parent_id"].isna().to_numpy()) if "parent_id" in frame else np.arange(len(frame))
    if indicator == COUNT:
        return Measured(whole, np.ones(len(whole)))
    if indicator == FLOOR_AREA and layer.role == "buildings":
        floors = layer_floors(frame, layer, storey_m)
        return Measured(floors.rows, floors.area_m2, floors.assumed)
    numeric = [f for f in layer.fields if f.type in ("number", "integer")]
    chosen = next((f for f in numeric if indicator in (f.name, f.role)), None)
    if chosen is None:
        names = [COUNT, *([FLOOR_AREA] if layer.role == "buildings" else []), *(f.name for f in numeric)]
        raise BadRequest(say("no-such-indicator", indicator=indicator, names=", ".join(names)))
    if statistic == "sum" and not chosen.additive:
        summable = [f.name for f in numeric if f.additive]
        raise BadRequest(
            say(
                "indicator-sum-means-nothing",
                indicator=indicator,
                title=chosen.title.en,
                others=", ".join([COUNT, *summable]),
            )
        )
    values, impossible = numbers(frame, layer, chosen.name)
    return Measured(whole, values[whole], impossible=impossible)


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


def hexagons(shapes: gpd.GeoSeries, resolution: int) -> gpd.GeoDataFrame:
    """Return the H3 cells that objects meet: those that hold a point, those that an area or line touches.

    Raises:
        BadRequest: there are more than can be drawn.

    """
    import h3

    degrees = shapes.to_crs(4326)
    names: set[str] = set()
    for shape, point in zip(degrees, degrees.representative_point(), strict=True):
        names.add(h3.latlng_to_cell(point.y, point.x, resolution))
        if shape.geom_type.endswith("Polygon") and shape.area > 0:
            names.update(
                h3.geo_to_cells(shape, resolution) if _small(shape, resolution) else _covering(shape, resolution)
            )
        if len(names) > MOST_HEXAGONS:
            raise BadRequest(say("cells-h3", resolution=resolution, most_hexagons=MOST_HEXAGONS))
    ids = sorted(names)
    polygons = [shapely.Polygon([(lon, lat) for lat, lon in h3.cell_to_boundary(name)]) for name in ids]
    frame = gpd.GeoDataFrame({"id": np.array(ids, object)}, geometry=polygons, crs=4326)
    return frame.to_crs(shapes.crs)


def _small(shape: Any, resolution: int) -> bool:
    """Whether an area is so much smaller than a cell that the cell of its middle stands for it."""
    import h3

    west, south, east, north = (float(side) for side in shape.bounds)
    side_deg = float(h3.average_hexagon_edge_length(resolution, unit="km")) / 111.0
    return max(east - west, north - south) < side_deg / 4


def _covering(shape: Any, resolution: int) -> list[str]:
    import h3

    return list(h3.h3shape_to_cells_experimental(h3.geo_to_h3shape(shape), resolution, contain="overlap"))


@dataclass(frozen=True)
class CellStatistics:
    """Per cell (m,): how many it owns, the sum of their values, how many have one; and what no cell owns."""

    counts: Int
    sums: Float
    outside_count: int
    outside_sum: float
    valued: Int  # (m,) objects with a value


def cell_statistics(owner: Int, values: Float, cells: int) -> CellStatistics:
    """Count and sum by owner; an object without a value (NaN) is counted, and adds nothing.

    Args:
        owner: (n,) cell of each object, -1: none.
        values: (n,) the indicator.
        cells: how many there are.

    """
    inside, has_value = owner >= 0, ~np.isnan(values)
    added = inside & has_value
    return CellStatistics(
        np.bincount(owner[inside], minlength=cells),
        np.bincount(owner[added], values[added], minlength=cells).astype(np.float64),
        int((~inside).sum()),
        float(values[~inside & has_value].sum()),
        np.bincount(owner[added], minlength=cells),
    )


def larger_than_cells(objects: NDArray[np.object_], cells: NDArray[np.object_]) -> bool:
    """Whether the middle object is an area of more than a quarter of the middle cell: one cell can't stand for it."""
    if not len(objects) or not len(cells):
        return False
    return bool(np.median(shapely.area(objects)) > 0.25 * np.median(shapely.area(cells)))


def shared_by_area(
    counted: CellStatistics, objects: NDArray[np.object_], values: Float, cells: NDArray[np.object_]
) -> CellStatistics:
    """Share each object's value out to cells by the area that they have of it (areal weighting; Goodchild, Lam 1980).

    Args:
        counted: what owners count; counts stay.
        objects: (n,) areas.
        values: (n,) of which each is spread evenly over its object.
        cells: (m,) polygons that don't overlap.

    """
    area = shapely.area(objects)
    spread = (area > 0) & ~np.isnan(values)
    one, cell = shapely.STRtree(cells).query(objects[spread], predicate="intersects")
    which = np.flatnonzero(spread)[one]
    part = shapely.area(shapely.intersection(objects[which], cells[cell])) / area[which]
    sums = np.bincount(cell, part * values[which], minlength=len(cells)).astype(np.float64)
    valued = np.bincount(cell[part > 0], minlength=len(cells))
    everything = float(values[spread].sum())
    return CellStatistics(counted.counts, sums, counted.outside_count, everything - float(sums.sum()), valued)


def _rows(
    cells: gpd.GeoDataFrame, statistics: CellStatistics, asked: Parameters, empty: Layer | None
) -> list[dict[str, Any]]:
    """Return a record a cell; of a layer that holds nothing, and of cells whose objects have no value, null."""
    names = cells["name"] if "name" in cells else cells["id"]
    km2 = cells.geometry.area.to_numpy() / 1e6
    total = absent(empty) if empty else float(statistics.sums.sum())
    few = Text(zh="有值对象", en="objects with a value")
    rows = []
    for k, (identifier, name, shape) in enumerate(zip(cells["id"], names, cells.geometry, strict=True)):
        value: Any = float(statistics.sums[k])
        if empty:
            value = absent(empty)
        elif statistics.counts[k] and not statistics.valued[k]:
            value = too_few(0, 1, few)
        mean = too_few(0, 1, few) if not statistics.valued[k] else float(statistics.sums[k] / statistics.valued[k])
        density = value if isinstance(value, Unknown) else (value / km2[k] if km2[k] > 0 else None)
        rows.append(
            {
                "id": identifier, "name": name, "count": int(statistics.counts[k]), "sum": value, "mean": mean,
                "without_value": int(max(statistics.counts[k] - statistics.valued[k], 0)),
                "per_km2": density if asked.statistic == "sum" else None,
                "total": total if asked.statistic == "sum" else None, "geometry": shape,
            }
        )  # fmt: skip
    return rows


def _nothing_lost(statistics: CellStatistics, values: Float) -> Check:
    """Compare: no object and no value is lost, and no cell has more than all objects have."""
    present = values[~np.isnan(values)]
    everything, total = float(present.sum()), float(statistics.sums.sum())
    lost = everything - total - statistics.outside_sum
    bound = float(present[present > 0].sum())
    passed = (
        abs(lost) <= 1e-9 * max(1.0, abs(everything))
        and len(values) == int(statistics.counts.sum()) + statistics.outside_count
        and (not len(statistics.sums) or float(statistics.sums.max()) <= bound * (1 + 1e-9) + 1e-9)
        and statistics.outside_sum >= -1e-6 * max(1.0, bound)
    )
    return Check(
        passed,
        Text(
            zh="各单元与单元外之和等于全部对象，且没有单元超过全部",
            en="sum over cells + outside = all objects, and no cell has more",
        ),
        {
            "cells": total, "outside": statistics.outside_sum, "all": everything, "lost": lost,
            "objects": float(len(values)), "outside_objects": float(statistics.outside_count),
        },
    )  # fmt: skip


def _of_cells_size(objects: NDArray[np.object_], cells: NDArray[np.object_], *, by_area: bool) -> Check:
    """Compare sizes: where an object is larger than the one cell it is given to, few cells get what lies in many."""
    statement = Text(zh="整体归属的对象不大于单元", en="objects that are one cell's are no larger than cells")
    if not len(objects) or not len(cells):
        return Check(None, statement)
    ratio = float(np.median(shapely.area(objects)) / max(np.median(shapely.area(cells)), 1e-9))
    return Check(by_area or ratio <= 1.0, statement, {"object_to_cell_area": ratio})


def _notes(measured: Measured, layer: Layer, indicator: str) -> Sequence[Text]:
    if not measured.impossible:
        return []
    count, title = measured.impossible, layer.title
    return [
        Text(
            zh=f"图层“{title.zh}”有 {count} 个 {indicator} 值超出可能范围，未计入",
            en=f"{count} values of {indicator} in {title.en} can't be (outside the field's range) and count as none",
        )
    ]


ANALYSIS = Declaration(
    parameters=Parameters,
    columns=COLUMNS,
    figures=FIGURES,
    legend=Legend("sum"),
    example={"cells": "h3:9"},
    run=run,
)
