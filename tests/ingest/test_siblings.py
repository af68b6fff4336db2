"""Neighbours of the faults that users of other tools reported: each a small file, and what must become of it."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from cim.read.terrain import ground_of
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.formats.coverages import geotiff as raster
from ingest.load.pipeline import ingest
from tests.factory import EAST, NORTH

NAMES = ["解放路消火栓", "人民广场东侧消火栓甲"]


def shapefile(path: Path, encoding: str, *, cpg: str | None = None, language: int = 0) -> Path:
    """Two hydrants with Chinese names."""
    points = [shapely.Point(EAST + 10 * n, NORTH) for n in range(len(NAMES))]
    frame = gpd.GeoDataFrame({"id": ["H0", "H1"], "name": NAMES}, geometry=points, crs="EPSG:4547")
    frame.to_file(path, engine="pyogrio", encoding=encoding)
    path.with_suffix(".cpg").unlink(missing_ok=True)
    if cpg:
        path.with_suffix(".cpg").write_text(cpg, "ascii")
    table = bytearray(path.with_suffix(".dbf").read_bytes())
    table[29] = language
    path.with_suffix(".dbf").write_bytes(table)
    return path


def load(store: Store, path: Path, **said: Any) -> FileReport:
    (report,) = ingest(store, [path], Declared(**said)).files
    return report


def names(store: Store, layer: str = "hydrant") -> list[Any]:
    with store.connect() as connection:
        rows = connection.execute(
            f"SELECT name FROM twin.{layer} WHERE upper_inf(recorded) ORDER BY id".encode()
        ).fetchall()
    return [row[0] for row in rows]


@pytest.mark.parametrize(
    ("encoding", "said", "warned"),
    [
        ("utf-8", {"language": 0x4D}, True),  # the language byte says GBK, and every text is UTF-8
        ("utf-8", {"cpg": "GBK"}, True),
        ("utf-8", {"cpg": "UTF-8"}, False),
        ("gbk", {"cpg": "936"}, False),
        ("gbk", {"cpg": "CP936"}, False),
        ("gbk", {"language": 0x4D}, False),
    ],
)
def test_no_text_is_read_as_what_it_cannot_be(
    store: Store, tmp_path: Path, encoding: str, said: dict[str, Any], warned: bool
) -> None:
    report = load(store, shapefile(tmp_path / "hydrant.shp", encoding, **said))
    assert report.error is None
    assert names(store) == NAMES
    assert any("UTF-8 throughout" in what for what in report.warned) == warned


def test_an_option_wins_over_the_evidence(store: Store, tmp_path: Path) -> None:
    path = shapefile(tmp_path / "hydrant.shp", "utf-8")
    assert load(store, path, encoding="GBK").error is None
    assert names(store) != NAMES


def test_text_that_is_not_what_the_cpg_says_is_an_error_that_names_the_option(store: Store, tmp_path: Path) -> None:
    report = load(store, shapefile(tmp_path / "hydrant.shp", "gbk", cpg="UTF-8"))
    assert report.setting == "encoding"
    assert names(store) == []


def test_a_shapefile_without_a_part_says_which(store: Store, tmp_path: Path) -> None:
    path = shapefile(tmp_path / "hydrant.shp", "utf-8")
    path.with_suffix(".dbf").unlink()
    report = load(store, path)
    assert report.loaded == 2
    assert "no .dbf beside it: shapes without attributes" in report.warned
    path.with_suffix(".shx").unlink()
    assert ".shx" in (load(store, path).error or "")


def geojson(path: Path, crs: Any) -> Path:
    feature = {
        "type": "Feature",
        "properties": {"id": "a"},
        "geometry": {"type": "Point", "coordinates": [113.58, 37.86]},
    }
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}), "utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("urn:ogc:def:crs:EPSG::4490", True),
        ("EPSG:4490", True),
        ("urn:ogc:def:crs:OGC:1.3:CRS84", True),
        ("EPSG:99999", False),
        ("my own system", False),
    ],
)
def test_a_crs_member_that_names_nothing_is_not_taken_for_wgs84(
    store: Store, tmp_path: Path, name: str, known: bool
) -> None:
    path = geojson(tmp_path / "hydrant.geojson", {"type": "name", "properties": {"name": name}})
    report = load(store, path)
    assert (report.error is None) == known
    if not known:
        assert name in (report.error or "")
        assert load(store, path, crs="EPSG:4490").loaded == 1


def test_a_crs_member_of_null_is_none(store: Store, tmp_path: Path) -> None:
    assert load(store, geojson(tmp_path / "hydrant.geojson", None)).loaded == 1


@pytest.mark.parametrize("srs", [0, -1])
def test_a_geopackage_of_an_undefined_system_needs_a_word(store: Store, tmp_path: Path, srs: int) -> None:
    path = tmp_path / "hydrant.gpkg"
    frame = gpd.GeoDataFrame({"id": ["a"]}, geometry=[shapely.Point(113.58, 37.86)], crs="EPSG:4326")
    frame.to_file(path, layer="hydrant", engine="pyogrio")
    with sqlite3.connect(path) as database:
        database.execute("UPDATE gpkg_geometry_columns SET srs_id = ?", [srs])
        database.execute("UPDATE gpkg_contents SET srs_id = ?", [srs])
    database.close()
    assert load(store, path).setting == "crs"
    assert load(store, path, crs="EPSG:4326").loaded == 1


def test_a_table_of_a_spreadsheet_in_utf16(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "hydrant.csv"
    path.write_text("id\tlon\tlat\tname\n1\t113.58\t37.86\t甲\n", "utf-16")
    assert load(store, path, crs="EPSG:4490").loaded == 1
    assert names(store) == ["甲"]


def dem(path: Path, values: np.ndarray, *, scale: tuple[float, float] | None = None, **profile: Any) -> Path:
    rows, columns = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=columns, height=rows, count=1, dtype=values.dtype, crs="EPSG:4547",
        transform=from_origin(EAST, NORTH, 5, 5), **profile,
    ) as file:  # fmt: skip
        file.write(values, 1)
        if scale:
            file.scales, file.offsets = [scale[0]], [scale[1]]
    return path


def heights(store: Store, *places: tuple[float, float]) -> list[float]:
    x, y = np.array(places).T
    with store.connect() as connection, connection.cursor() as cursor:
        return [round(h, 3) for h in ground_of(cursor, store)(EAST + x, NORTH - y).tolist()]


def test_heights_in_tenths_are_metres(store: Store, tmp_path: Path) -> None:
    """Whole numbers with a scale and an offset in the file, as many national models have them."""
    path = dem(tmp_path / "terrain.tif", np.full((40, 40), 6000, np.int16), scale=(0.1, 100.0))
    assert load(store, path, layer="terrain", vertical_datum="city").error is None
    assert heights(store, (50, 50)) == [700.0]


@pytest.mark.parametrize(("kind", "hole"), [("float32", float("nan")), ("uint16", 0), ("int16", -32768)])
def test_a_hole_stays_a_hole_whatever_stands_for_it(store: Store, tmp_path: Path, kind: str, hole: float) -> None:
    values = np.full((40, 40), 700, kind)
    values[10:14, 10:14] = hole
    path = dem(tmp_path / "terrain.tif", values, nodata=hole)
    report = load(store, path, layer="terrain", vertical_datum="city")
    assert (report.error, dict(report.warned)) == (None, {})
    inside, outside = heights(store, (60, 60), (20, 20))
    assert outside == 700.0
    assert np.isnan(inside)


def test_a_raster_is_the_same_whatever_blocks_it_is_read_in(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(4)
    values = draw.uniform(600, 900, (700, 900)).astype(np.float32)
    values[3:9, 5:40] = -9999
    path = dem(tmp_path / "terrain.tif", values)
    said = {"layer": "terrain", "vertical_datum": "ellipsoidal"}
    report = load(store, path, **said)
    assert f"{6 * 35} cells with a void value (-9999) that the file doesn't declare" in report.warned
    monkeypatch.setattr(raster, "BLOCK_ROWS", 256)
    monkeypatch.setattr(raster, "BLOCK_COLUMNS", 512)
    assert load(store, path, **said).unchanged == 1


@pytest.mark.parametrize(
    ("written", "metres"),
    [
        ("12m", 12.0), ("20.5 m", 20.5), ("约20米", 20.0), ("≈ 9,5", 9.5), ("40 ft", 12.192), ("32'6\"", 9.906),
        ("32' 6''", 9.906), ("12.5;13", None), ("三层", None), ("18～20", None),
    ],
)  # fmt: skip
def test_heights_as_people_write_them(store: Store, tmp_path: Path, written: str, metres: float | None) -> None:
    shape = shapely.box(EAST, NORTH, EAST + 20, NORTH + 20)
    frame = gpd.GeoDataFrame({"id": ["b"], "height": [written], "base_m": [700.0]}, geometry=[shape], crs="EPSG:4547")
    frame.to_file(tmp_path / "building.gpkg", layer="building", engine="pyogrio")
    report = load(store, tmp_path / "building.gpkg", vertical_datum="city")
    assert report.loaded == 1
    with store.connect() as connection:
        ((height, extra, flags),) = connection.execute("SELECT height_m, extra, flags FROM twin.building").fetchall()
    assert height == (None if metres is None else pytest.approx(metres, abs=1e-9))
    assert metres is not None or (extra == {"height": written} and flags == ["no_height"])


def test_where_parts_of_a_file_lie_outside_the_farthest_tells() -> None:
    whole = FileReport("a.shp")
    for metres in (300.0, 1200.0, 1200.0, 500.0):
        part = FileReport("a.shp")
        part.lies_outside({"the extent of X": metres})
        whole.absorb(part)
    assert list(whole.warned) == ["lies up to 1200 m outside the extent of X"]


@pytest.mark.parametrize("suffix", [".kml", ".topojson", ".obj"])
def test_a_file_that_is_held_whole_and_beyond_the_memory_is_refused_with_a_way_out(
    store: Store, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"hydrant{suffix}"
    path.write_bytes(b" " * 200_000)
    tight = replace(store, settings=replace(store.settings, memory_mb=1))
    report = ingest(tight, [path], Declared())
    assert report.exit_code == 1
    assert "memory_mb" in str(report.files[0].error)
    assert "memory_mb" not in str(ingest(store, [path], Declared()).files[0].error)
