"""Real files made by others, with the counts and traps that their notes name."""

from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from pyproj import CRS

from cim.city import City, Extent
from cim.reference.crs import operation
from cim.store.assets import asset_path
from cim.store.connection import Store
from cim.write.export import Extract, export
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore

BERLIN = City(
    name="Berlin", srid=25833, vertical_datum="EPSG:5783", height_anomaly_m=39.5, extent=(12.9, 52.2, 13.9, 52.8)
)
# the country in one metric CRS that holds all of it
CHINA = City(name="China", srid=8857, vertical_datum="city")
OTTERLO = City(
    name="Otterlo", srid=28992, vertical_datum="EPSG:5709", height_anomaly_m=43.0, extent=(3.2, 50.7, 7.3, 53.6)
)
SINGAPORE = City(name="Singapore", srid=3414, vertical_datum="city", extent=(103.5, 1.1, 104.2, 1.6))


def rows(store: Store, sql: str) -> list[tuple[object, ...]]:
    with store.connect("server") as connection:
        return connection.execute(sql.encode()).fetchall()


def test_the_100_buildings_of_berlin_go_in_with_their_roofs(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(BERLIN)
    report = ingest(
        store, [shared_data / "citygml_citygml4j/lod2_buildings_v2.json"], Declared(vertical_datum="EPSG:5783")
    )
    file = report.files[0]
    assert (file.layers, file.read, file.loaded, file.refused) == (["building"], 100, 100, 0), file
    assert rows(store, "SELECT count(*), count(DISTINCT id) FROM twin.building WHERE lods = '{2}'") == [(100, 100)]
    west, south, east, north = file.extent or (0, 0, 0, 0)
    assert 12.9 < west < east < 13.9
    assert 52.2 < south < north < 52.8
    roofs = rows(store, "SELECT count(*) FROM cim.body WHERE z_max - z_min BETWEEN 2 AND 120")
    assert roofs == [(100,)]


def test_the_925_polygons_of_chinese_provinces_have_readable_names(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(CHINA)
    said = Declared(
        layer="district", crs="EPSG:4326", columns={"NAME": "name", "ADCODE93": "division_code", "BOU2_4M_ID": "level"}
    )
    file = ingest(store, [shared_data / "china_gbk_shp/bou2_4p.shp"], said).files[0]
    assert file.read == 925
    assert file.loaded + file.refused == 925
    assert file.refused == 0, dict(file.reasons)
    assert any("GBK" in warning for warning in file.warned)
    names = {str(row[0]) for row in rows(store, "SELECT DISTINCT name FROM twin.district WHERE name IS NOT NULL")}
    assert {"山西省", "北京市", "内蒙古自治区", "西藏自治区", "台湾省", "香港特别行政区"} <= names
    assert all(name and all("\u4e00" <= c <= "\u9fff" for c in name) for name in names)


def test_dutch_addresses_in_both_systems_lie_within_five_millimetres(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(OTTERLO)
    for name, prefix in (("dutch_addresses_28992", "rd-"), ("dutch_addresses_4326", "wgs-")):
        said = Declared(layer="address", id_prefix=prefix, dataset=prefix)
        file = ingest(store, [shared_data / f"addresses_nl/{name}.gpkg"], said).files[0]
        assert (file.read, file.loaded, file.refused) == (2481, 2481, 0)

    def places(prefix: str) -> np.ndarray:
        found = rows(store, f"SELECT ST_X(geom), ST_Y(geom) FROM twin.address WHERE id LIKE '{prefix}%'")
        return np.array(found, float)

    plane, degrees = places("rd-"), places("wgs-")
    assert len(plane) == len(degrees) == 2481
    nearest = shapely.STRtree(shapely.points(plane)).query_nearest(
        shapely.points(degrees), return_distance=True, all_matches=False
    )[1]
    assert nearest.max() <= 0.005
    source = pyogrio.read_dataframe(shared_data / "addresses_nl/dutch_addresses_28992.gpkg")
    again = shapely.STRtree(source.geometry.to_numpy()).query_nearest(
        shapely.points(plane), return_distance=True, all_matches=False
    )[1]
    assert again.max() < 1e-3, "coordinates in the city's own system are kept"


def test_the_sum_of_singapores_population_raster_is_kept(
    make_store: MakeStore, shared_data: Path, tmp_path: Path
) -> None:
    store = make_store(SINGAPORE)
    source = shared_data / "pop_singapore/singapore_worldpop.tif"
    file = ingest(store, [source], Declared(layer="population_raster")).files[0]
    assert (file.layers, file.loaded, file.error) == (["population_raster"], 1, None)
    ((total,),) = rows(store, "SELECT (extra->>'sum')::float8 FROM twin.population_raster")
    assert round(float(str(total))) == 5_399_000
    out = tmp_path / "population.tif"
    with store.connect() as connection, connection.cursor() as cursor:
        export(cursor, store, Extract(store.catalog.layers["population_raster"]), out)
    with rasterio.open(out) as written, rasterio.open(source) as read:
        ours, theirs = written.read(1, masked=True), read.read(1, masked=True)
        assert written.shape == read.shape
        assert float(ours.sum(dtype=np.float64)) == float(theirs.sum(dtype=np.float64))
        assert np.array_equal(ours.filled(-1), theirs.filled(-1))
        to_plane = operation(CRS.from_wkt(read.crs.to_wkt()), CRS.from_epsg(3414))
        x, y = to_plane(np.array([read.bounds.left]), np.array([read.bounds.top]))
    box = rows(store, "SELECT ST_XMin(geom), ST_YMax(geom) FROM twin.population_raster")[0]
    assert abs(float(str(box[0])) - x[0]) < 100
    assert abs(float(str(box[1])) - y[0]) < 100


def test_the_2143_rivers_of_china_have_readable_names(make_store: MakeStore, shared_data: Path) -> None:
    store = make_store(CHINA)
    said = Declared(layer="survey_line", crs="EPSG:4326", columns={"NAME": "name"})
    file = ingest(store, [shared_data / "china_gbk_shp/hyd2_4l.shp"], said).files[0]
    assert (file.read, file.loaded + file.unchanged, file.refused) == (2143, 2143, 0), dict(file.reasons)
    assert any("GBK" in warning for warning in file.warned)


@pytest.mark.parametrize(
    ("path", "srid", "extent", "heights"),
    [
        ("fire_pyretechnics/LC20_Elev_220.tif", 26918, (-73.5, 43.9, -71.9, 44.9), (201, 1101)),
        ("hydro_pysheds/dem.tif", 26914, (-98.0, 32.0, -96.5, 33.5), (147, 298)),
    ],
)
def test_terrain_of_elsewhere_keeps_its_heights(
    make_store: MakeStore, shared_data: Path, path: str, srid: int, extent: Extent, heights: tuple[int, int]
) -> None:
    store = make_store(City(name="elsewhere", srid=srid, vertical_datum="city", extent=extent))
    said = Declared(layer="terrain", vertical_datum="city")
    (file,) = ingest(store, [shared_data / path], said).files
    assert (file.error, file.loaded, file.refused) == (None, 1, 0)
    ((sha256,),) = rows(store, "SELECT sha256 FROM cim.asset")
    with rasterio.open(asset_path(store.settings, str(sha256))) as raster:
        values = raster.read(1, masked=True)
    assert (np.nanmin(values), np.nanmax(values)) == heights
