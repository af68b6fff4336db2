"""An analysis is one file and one row: three of them, added from outside, come out at every door by themselves."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pygltflib
import pyproj
import pytest
import rasterio
from click.testing import CliRunner
from PIL import Image
from scipy.spatial import cKDTree

from cim.analysis.engine import registry
from cim.analysis.engine.declaration import UNKNOWN_COLOR
from cim.analysis.engine.inputs import LayerBodies
from cim.analysis.engine.keep import keep, read_kept
from cim.analysis.engine.legend import picture, row_colors
from cim.analysis.engine.result import UNKNOWN, Computed
from cim.analysis.engine.run import analyse
from cim.errors import BadRequest
from cim.geometry.body_batch import select
from cim.geometry.body_shapes import bodies_of
from cim.geometry.measures import closed, volumes
from services.cli.main import cli
from services.docs.catalog_pages import analyses_page
from services.http.result_forms import SUFFIXES, mesh_of, write_result
from services.ogc.processes import declared_output
from tests.conftest import Served
from tests.example.analyses import ROWS

NAMES = [row.name for row in ROWS]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The rows in the registry, as an entry point `cim.analyses` brings them."""
    monkeypatch.setattr(registry, "ANALYSES", (*registry.ANALYSES, *ROWS))
    registry.analyses.cache_clear()
    yield
    monkeypatch.undo()
    registry.analyses.cache_clear()


def computed(served: Served, name: str, **parameters: Any) -> Computed:
    example = registry.analysis(name).declaration.example
    with served.store.connect() as connection, connection.cursor() as cursor:
        return analyse(cursor, served.store, name, {**example, **parameters})


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_is_described_kept_and_documented(sample_city: Served, name: str) -> None:
    result = computed(sample_city, name)
    assert result.check.passed
    json.dumps(result.as_json(), allow_nan=False)
    described = declared_output(registry.analysis(name).declaration, "zh")
    assert described.legend
    assert f"`{name}`" in analyses_page()
    again = read_kept(sample_city.store.settings, keep(sample_city.store.settings, result))
    assert again.dumps() == result.dumps()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_it_is_written_in_every_form_it_has(sample_city: Served, name: str, suffix: str, tmp_path: Path) -> None:
    result = computed(sample_city, name)
    path = tmp_path / f"result{suffix}"
    if suffix == ".tif" and result.raster is None:
        with pytest.raises(BadRequest, match="raster"):
            write_result(result, path, sample_city.store.city)
        return
    if suffix == ".glb" and result.bodies is None:
        with pytest.raises(BadRequest, match="no bodies"):
            write_result(result, path, sample_city.store.city)
        return
    write_result(result, path, sample_city.store.city)
    if suffix == ".tif":
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(file.read(1), result.raster.cells)  # type: ignore[union-attr]
            assert file.crs.to_epsg() == sample_city.store.city.srid
    elif suffix in (".gpkg", ".geojson", ".json"):
        rows = gpd.read_file(path)
        assert len(rows) == len(result.gdf)


def test_a_raster_is_the_ground_that_lies_there_and_a_picture(sample_city: Served) -> None:
    result = computed(sample_city, "slope")
    raster = result.raster
    assert raster is not None
    with rasterio.open(sample_city.folder / "terrain_town.tif") as file:
        window = file.window(*rasterio.transform.array_bounds(*raster.cells.shape, raster.transform))
        heights = file.read(1, window=window, boundless=True, fill_value=np.nan)
    down, right = np.gradient(heights.astype(float), raster.cell_m)
    expected = np.degrees(np.arctan(np.hypot(down, right)))
    inner = (slice(1, -1), slice(1, -1))
    assert np.nanmax(np.abs(expected[inner] - raster.cells[inner])) < 0.2
    legend = registry.analysis("slope").declaration.legend
    assert legend is not None
    png, (west, south, east, north) = picture(raster, legend)
    assert west < east
    assert south < north
    image = np.asarray(Image.open(__import__("io").BytesIO(png)))
    assert image.shape[2] == 4
    assert len(np.unique(image[image[..., 3] > 0][:, :3], axis=0)) == 5


def total(shapes: Any) -> float:
    """The volume of bodies given as geometries, in their order; of those that are closed."""
    bodies = bodies_of(np.asarray(shapes, object)).bodies
    return float(volumes(bodies)[closed(bodies)].sum())


def test_bodies_come_back_as_they_were_kept(sample_city: Served) -> None:
    result = computed(sample_city, "roof_volume")
    assert result.bodies is not None
    again = read_kept(sample_city.store.settings, keep(sample_city.store.settings, result)).bodies
    assert again is not None
    assert again.ids.tolist() == result.bodies.ids.tolist() == result.gdf["id"].tolist()
    for name in ("vertices", "indices", "index_start", "ring_start", "face_start", "face_class"):
        np.testing.assert_array_equal(getattr(again.bodies, name), getattr(result.bodies.bodies, name))
    np.testing.assert_array_equal(volumes(again.bodies), volumes(result.bodies.bodies))
    assert volumes(again.bodies)[closed(again.bodies)].sum() == pytest.approx(result.figures["volume_m3"], rel=1e-12)


@pytest.mark.parametrize("suffix", [".geojson", ".gpkg", ".parquet", ".arrow"])
def test_bodies_have_the_same_volume_in_every_form(sample_city: Served, suffix: str, tmp_path: Path) -> None:
    result, city = computed(sample_city, "roof_volume"), sample_city.store.city
    path = tmp_path / f"result{suffix}"
    write_result(result, path, city)
    if suffix == ".parquet":
        rows = gpd.read_parquet(path)
    elif suffix == ".arrow":
        rows = gpd.GeoDataFrame.from_arrow(pa.ipc.open_file(path).read_all())
    else:
        rows = gpd.read_file(path)
    assert rows.geometry.has_z.all()
    assert set(rows.geom_type) == {"MultiPolygon"}
    metric = rows.to_crs(city.srid)
    # a degree's ninth decimal is a tenth of a millimetre: walls of that error, over some million m3
    assert total(metric.geometry) == pytest.approx(result.figures["volume_m3"], rel=1e-5 if "geo" in suffix else 1e-9)


def test_a_mesh_has_the_volume_the_place_and_the_colours(sample_city: Served, tmp_path: Path) -> None:
    result, city = computed(sample_city, "roof_volume"), sample_city.store.city
    solids = result.bodies
    assert solids is not None
    mesh = mesh_of(result, city)
    path = tmp_path / "result.glb"
    write_result(result, path, city)
    assert path.read_bytes() == mesh.glb
    assert json.loads((tmp_path / "result.glb.json").read_text())["origin"]["ellipsoidal_height"] == mesh.height
    document = pygltflib.GLTF2().load(str(path))
    assert document.asset.extras["origin"]["lon"] == mesh.lon
    [primitive] = document.meshes[0].primitives

    def read(number: int) -> Any:
        accessor = document.accessors[number]
        view = document.bufferViews[accessor.bufferView]
        kind = {5126: "<f4", 5125: "<u4"}[accessor.componentType]
        width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor.type]
        values = np.frombuffer(document.binary_blob(), kind, accessor.count * width, view.byteOffset)
        return values.reshape(-1, width)

    points, triangles = read(primitive.attributes.POSITION).astype(float), read(primitive.indices).reshape(-1, 3)
    feature = primitive.attributes._FEATURE_ID_0
    body = read(feature).ravel().astype(int)
    # the volume, by its own way: of the tetrahedra over each triangle about the body's first point
    whole = closed(solids.bodies)
    first = points[np.unique(body, return_index=True)[1]]
    a, b, c = (points[triangles[:, k]] - first[body[triangles[:, 0]]] for k in range(3))
    parts = np.einsum("ij,ij->i", a, np.cross(b, c)) / 6
    by_body = np.bincount(body[triangles[:, 0]], parts, len(solids.ids))
    # ground distances of Gauss-Krueger aren't those of the ellipsoid, by some 1e-4 here, and it stands higher
    assert by_body[whole].sum() == pytest.approx(result.figures["volume_m3"], rel=2e-3)
    # the place: where pyproj puts the first vertices, by the geocentric conversion of PROJ
    to_globe = pyproj.Transformer.from_crs(city.srid, 4326, always_xy=True)
    to_ecef = pyproj.Transformer.from_crs(4979, 4978, always_xy=True)
    vertices = solids.bodies.vertices
    lon, lat = to_globe.transform(vertices[:, 0], vertices[:, 1])
    expected = np.c_[to_ecef.transform(lon, lat, vertices[:, 2] + city.height_anomaly_m)]
    lam, phi = np.radians([mesh.lon, mesh.lat])
    east = [-np.sin(lam), np.cos(lam), 0]
    up = [np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)]
    axes = np.array([east, np.cross(up, east), up])
    upright = points[:, [0, 2, 1]] * [1, -1, 1]
    placed = upright @ axes + to_ecef.transform(mesh.lon, mesh.lat, mesh.height)
    assert cKDTree(expected).query(placed)[0].max() < 0.002
    # the colours: those of the rows, in linear light
    legend = registry.analysis("roof_volume").declaration.legend
    shades = row_colors(result, legend)
    assert len(set(shades) - {UNKNOWN_COLOR}) == 5
    assert (UNKNOWN_COLOR in shades) == (not whole.all())
    colors = read(primitive.attributes.COLOR_0)
    srgb = np.where(colors <= 0.0031308, colors * 12.92, 1.055 * colors ** (1 / 2.4) - 0.055)
    drawn = ["#" + "".join(f"{round(v * 255):02x}" for v in color[:3]) for color in srgb]
    assert drawn == [shades[n] for n in body]


def test_the_command_line_writes_bodies_and_replays_them(sample_city: Served, tmp_path: Path) -> None:
    settings, example = sample_city.store.settings, registry.analysis("roof_volume").declaration.example
    environment = {"CIM_STATE": str(settings.state), "CIM_DATABASE_URL": sample_city.store.url}
    given = [part for name, value in example.items() for part in ("--param", f"{name}={value}")]

    def run(*arguments: str) -> None:
        outcome = CliRunner().invoke(cli, ["analyse", *arguments], env=environment, catch_exceptions=False)
        assert outcome.exit_code == 0, outcome.output

    first, again = (str(tmp_path / f"{name}.glb") for name in ("first", "again"))
    run("roof_volume", *given, "-o", first)
    run("--replay", f"{first}.json", "-o", again)
    assert Path(again).read_bytes() == Path(first).read_bytes()
    assert Path(f"{again}.json").read_bytes() == Path(f"{first}.json").read_bytes()


def test_what_has_no_body_keeps_its_own_geometry(sample_city: Served) -> None:
    result = computed(sample_city, "roof_volume")
    assert result.bodies is not None
    without = LayerBodies(result.bodies.ids[1:], select(result.bodies.bodies, np.arange(1, len(result.bodies.ids))))
    shaped = dataclasses.replace(result, bodies=without).shaped
    assert shaped.geometry.iloc[0].equals(result.gdf.geometry.iloc[0])
    assert shaped.geometry.has_z.tolist() == [False] + [True] * (len(shaped) - 1)


def test_outside_the_terrain_the_slope_is_unknown_and_the_check_isnt_passed(sample_city: Served) -> None:
    result = computed(sample_city, "slope", east=700_000.0)
    document = result.as_json()
    assert document["steepest_deg"] is None
    assert document[UNKNOWN]["steepest_deg"]["zh"]
    assert document["check"]["passed"] is None
    assert result.raster is None


@pytest.mark.parametrize("name", [*(row.name for row in registry.ANALYSES), "roof_volume"])
def test_a_replay_gives_the_same_bytes_after_later_edits(changing_city: Served, name: str, tmp_path: Path) -> None:
    from ingest.delivery.declared import Declared
    from ingest.load.pipeline import ingest

    first = computed(changing_city, name)
    layers = {row["layer"] for row in first.computed_from["datasets"]}
    for layer in layers:
        path = tmp_path / f"{layer}.geojson"
        square = [[113.58, 37.86], [113.581, 37.86], [113.581, 37.861], [113.58, 37.861], [113.58, 37.86]]
        feature = {"type": "Feature", "id": f"new {name}", "properties": {"people": 5}, "geometry": {
            "type": "Polygon", "coordinates": [square]}}  # fmt: skip
        path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), "utf-8")
        ingest(changing_city.store, [path], Declared(layer=layer, vertical_datum="city"))
    again = computed(changing_city, name, **first.computed_from["parameters"])
    assert again.dumps() == first.dumps()
