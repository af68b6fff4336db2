"""Unknown is not zero, and not yes: every analysis, each of its input layers empty, broken, far away, out of range.

One test over the registry: an analysis that is added is tested the day it is.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from cim.analysis.engine.inputs import MetricBox
from cim.analysis.engine.registry import analyses, check_parameters
from cim.analysis.engine.result import UNKNOWN, Computed, Result
from cim.analysis.engine.run import dated
from cim.analysis.engine.store_inputs import StoreInputs
from cim.analysis.engine.unknown import Unknown
from cim.catalog.assumptions import read_assumptions
from cim.catalog.model import Layer
from cim.errors import BadRequest, NotFound
from tests.conftest import Served

Alter = Callable[[gpd.GeoDataFrame, Layer], gpd.GeoDataFrame]
FAR_M = 5_000_000.0


def emptied(frame: gpd.GeoDataFrame, layer: Layer) -> gpd.GeoDataFrame:
    return frame.iloc[:0].copy()


def broken(frame: gpd.GeoDataFrame, layer: Layer) -> gpd.GeoDataFrame:
    """Every third geometry crosses itself, every fourth is missing, every fifth empty."""
    if "geometry" not in frame:
        return frame
    shapes = frame.geometry.to_numpy().copy()
    for k, shape in enumerate(shapes):
        if k % 3 == 0 and shape is not None and shape.geom_type.endswith("Polygon"):
            xmin, ymin, xmax, ymax = shape.bounds
            shapes[k] = shapely.Polygon([(xmin, ymin), (xmax, ymax), (xmax, ymin), (xmin, ymax)])
        if k % 4 == 0:
            shapes[k] = None
        if k % 5 == 0:
            shapes[k] = shapely.from_wkt("MULTIPOLYGON EMPTY")
    return frame.set_geometry(gpd.GeoSeries(shapes, crs=frame.crs))


def far(frame: gpd.GeoDataFrame, layer: Layer) -> gpd.GeoDataFrame:
    return frame.set_geometry(frame.translate(FAR_M, FAR_M)) if "geometry" in frame else frame


def numbers_of(layer: Layer) -> set[str]:
    numeric = [f for f in layer.all_fields if f.type in ("number", "integer")]
    return {spelling for f in numeric for spelling in (f.name, f.role) if spelling}


def replaced(value: float) -> Alter:
    def alter(frame: gpd.GeoDataFrame, layer: Layer) -> gpd.GeoDataFrame:
        columns = [c for c in frame.columns if c in numbers_of(layer)]
        return frame.assign(**{c: np.full(len(frame), value) for c in columns})

    return alter


ALTERATIONS: Mapping[str, Alter] = {
    "empty": emptied,
    "broken": broken,
    "far": far,
    "negative": replaced(-7.0),
    "offline": replaced(-1.0),
    "huge": replaced(1e15),
    "infinite": replaced(float("inf")),
    "absent": replaced(float("nan")),
}


@dataclass
class Altered(StoreInputs):
    """The store's inputs with one layer altered."""

    layer_id: str = ""
    alter: Alter = emptied
    seen: set[str] = field(default_factory=set)

    def read(
        self, layer: Layer, box: MetricBox | None, columns: Sequence[str] | None, where: str | None
    ) -> gpd.GeoDataFrame:
        rows = super().read(layer, None if layer.id == self.layer_id else box, columns, where)
        if layer.id != self.layer_id:
            return rows
        rows = self.alter(rows, layer)
        if box is None or "geometry" not in rows or rows.empty:
            return rows
        return rows[rows.intersects(shapely.box(box.xmin, box.ymin, box.xmax, box.ymax)).to_numpy()]

    def series(self, layer: Layer, since: datetime | None = None, until: datetime | None = None) -> pd.DataFrame:
        values = super().series(layer, since, until)
        return pd.DataFrame(self.alter(values, layer)) if layer.id == self.layer_id else values

    def is_empty(self, layer: Layer) -> bool:
        return self.alter is emptied if layer.id == self.layer_id else super().is_empty(layer)


def run(served: Served, name: str, layer_id: str, alter: Alter) -> tuple[Result, set[str]]:
    declared = analyses()[name].declaration
    now = datetime.now(UTC)
    asked = dated(check_parameters(name, declared.example), served.store.city, now)
    with served.store.connect() as connection, connection.cursor() as cursor:
        inputs = Altered(cursor, served.store, read_assumptions(), now, now, layer_id=layer_id, alter=alter)
        return declared.run(asked, inputs, lambda *_: None), set(inputs.asked)


def cases() -> Iterator[Any]:
    for name in analyses():
        for alteration in ALTERATIONS:
            yield pytest.param(name, alteration, id=f"{name}-{alteration}")


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from leaves(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part)
    else:
        yield value


def assert_honest(name: str, result: Result) -> None:
    """Nothing is NaN or infinite, what is null says why in both languages, and all that is there is declared."""
    declared = analyses()[name].declaration
    document = Computed(name, result.gdf, result.figures, result.check, {}).as_json()
    json.dumps(document, allow_nan=False)
    figures = {output.name for output in declared.figures}
    assert set(result.figures) <= figures
    for figure, value in result.figures.items():
        if document[figure] is None:
            reason = document[UNKNOWN][figure]
            assert reason["zh"]
            assert reason["en"]
        if isinstance(value, Unknown):
            assert document[figure] is None
    assert {c for c in result.gdf.columns if c not in ("geometry", UNKNOWN)} <= {o.name for o in declared.columns}
    shares = {o.name for o in declared.columns if "occupancy" in o.name or o.name == "covered"}
    for feature in document["features"]:
        for column in shares & set(feature["properties"]):
            value = feature["properties"][column]
            assert value is None or 0.0 <= value <= 1.0
        for value in leaves(feature["properties"]):
            assert not isinstance(value, float) or abs(value) < 1e14
    if all(isinstance(v, Unknown) for v in result.figures.values()):
        assert result.check.passed is not True


@pytest.mark.parametrize("name", analyses())
def test_the_example_of_an_analysis_has_an_answer(sample_city: Served, name: str) -> None:
    result, asked = run(sample_city, name, "", emptied)
    assert_honest(name, result)
    assert asked
    assert len(result.gdf) > 0
    assert result.check.passed
    headlines = [o.name for o in analyses()[name].declaration.figures if o.headline]
    assert headlines, "which figure answers the question?"
    assert not any(isinstance(result.figures[h], Unknown) for h in headlines)


@pytest.mark.parametrize(("name", "alteration"), list(cases()))
def test_each_input_layer_may_be_anything(sample_city: Served, name: str, alteration: str) -> None:
    _, layers = run(sample_city, name, "", emptied)
    for layer in sorted(layers):
        with suppress(BadRequest, NotFound):  # a refusal is an answer too
            assert_honest(name, run(sample_city, name, layer, ALTERATIONS[alteration])[0])


@pytest.mark.parametrize(
    ("name", "layer", "figures"),
    [
        ("incident", "population", ["people"]),
        ("incident", "building", ["buildings", "floor_area_m2"]),
        ("incident", "road_segment", ["reached_in_time", "nearest_fire_station", "nearest_hospital"]),
        ("incident", "fire_station", ["reached_in_time", "nearest_fire_station"]),
        ("incident", "hospital", ["nearest_hospital"]),
        ("incident", "shelter", ["nearest_shelter"]),
        ("parking_indicators", "parking_observation", ["occupancy", "spaces"]),
        ("parking_indicators", "parking_lot", ["occupancy", "spaces"]),
        ("cell_statistics", "building", ["total"]),
    ],
)
def test_of_an_empty_layer_figures_are_unknown(sample_city: Served, name: str, layer: str, figures: list[str]) -> None:
    result, _ = run(sample_city, name, layer, emptied)
    for figure in figures:
        assert isinstance(result.figures[figure], Unknown), figure
    told = [f for f in result.figures if f not in figures]
    assert any(not isinstance(result.figures[f], Unknown) for f in told) or name != "incident"
