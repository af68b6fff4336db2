"""Models without a place: the same house as OBJ, GLB, PLY and STL stands where its anchor says."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
import trimesh
from PIL import Image
from pyproj import Transformer

from cim.errors import CimError
from cim.geometry.appearance import Appearance
from cim.geometry.body_batch import Bodies
from cim.geometry.stored_form import decode
from cim.store.assets import asset_path
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest

UNEXPECTED = "a fault that this program doesn't know how to say"

HERE = (113.58, 37.86, 712.5)
TO_CITY = Transformer.from_crs(4326, 4547, always_xy=True)


def house() -> trimesh.Trimesh:
    """A wedge of 12 × 8 × 5 m, z up, that no turn brings onto itself: volume 240 m³."""
    points = [[0, 0, 0], [12, 0, 0], [12, 8, 0], [0, 8, 0], [0, 0, 5], [0, 8, 5]]
    faces = [[0, 2, 1], [0, 3, 2], [0, 1, 4], [1, 2, 5], [1, 5, 4], [2, 3, 5], [3, 0, 4], [3, 4, 5]]
    return trimesh.Trimesh(points, faces, process=False)


def write(path: Path, mesh: trimesh.Trimesh | None = None) -> Path:
    made = (mesh or house()).copy()
    if path.suffix in (".glb", ".gltf"):
        made.apply_transform([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])
    made.export(path)
    return path


def stored(store: Store) -> list[tuple[Any, ...]]:
    with store.connect() as connection:
        return connection.execute(
            """SELECT v.id, ST_AsBinary(v.geom), b.z_min, b.z_max, b.volume, b.closed FROM twin.building v
               JOIN cim.body b ON b.hash = v.bodies[1] WHERE upper_inf(v.recorded) ORDER BY v.id"""
        ).fetchall()


@pytest.mark.parametrize("suffix", [".obj", ".glb", ".ply", ".stl"])
def test_a_model_stands_at_its_anchor(store: Store, tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"hall{suffix}")
    report = ingest(store, [path], Declared(layer="building", anchor=HERE, vertical_datum="city"))
    assert report.exit_code == 0, report.summary()
    ((name, wkb, low, high, volume, closed),) = stored(store)
    assert (name, closed) == ("hall", True)
    assert volume == pytest.approx(240.0, abs=0.01)
    assert (low, high) == (pytest.approx(712.5, abs=1e-3), pytest.approx(717.5, abs=1e-3))
    corner = TO_CITY.transform(*HERE[:2])
    shape = shapely.from_wkb(wkb)
    assert shape.area == pytest.approx(96.0, abs=0.01)
    assert shapely.distance(shape, shapely.Point(corner)) < 0.01
    # its x points east; west of the central meridian that is a little south of the grid's east, by the convergence
    far = shapely.get_coordinates(shape) - corner
    along = far[np.abs(np.hypot(*far.T) - 12).argmin()]
    bearing = np.degrees(np.arctan2(along[1], along[0]))
    assert bearing == pytest.approx((HERE[0] - 114) * np.sin(np.radians(HERE[1])), abs=0.001)


def test_a_heading_turns_it_clockwise(store: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "hall.obj")
    ingest(store, [path], Declared(layer="building", anchor=HERE, heading=90.0, vertical_datum="city"))
    ((_, wkb, *_),) = stored(store)
    west, south, east, north = np.array(shapely.from_wkb(wkb).bounds) - [*TO_CITY.transform(*HERE[:2])] * 2
    assert (west, north) == (pytest.approx(0, abs=0.1), pytest.approx(0, abs=0.1))
    assert (east, south) == (pytest.approx(8, abs=0.1), pytest.approx(-12, abs=0.1))


def test_millimetres_are_declared(store: Store, tmp_path: Path) -> None:
    mesh = house()
    mesh.apply_scale(1000.0)
    path = write(tmp_path / "hall.obj", mesh)
    ingest(store, [path], Declared(layer="building", anchor=HERE, unit_m=0.001, vertical_datum="city"))
    assert stored(store)[0][4] == pytest.approx(240.0, abs=0.01)


def test_an_anchor_may_be_coordinates(store: Store, tmp_path: Path) -> None:
    said = Declared(layer="building", anchor=(500_000, 4_190_000, 700), crs="EPSG:4547", vertical_datum="city")
    ingest(store, [write(tmp_path / "hall.obj")], said)
    assert shapely.from_wkb(stored(store)[0][1]).bounds == pytest.approx((5e5, 4.19e6, 500_012, 4_190_008), abs=1e-3)


def test_a_model_in_coordinates_needs_no_anchor(store: Store, tmp_path: Path) -> None:
    mesh = house()
    mesh.apply_translation([500_000, 4_190_000, 700])
    path = tmp_path / "hall.obj"
    path.write_text(trimesh.exchange.obj.export_obj(mesh, digits=3), "utf-8")
    ingest(store, [path], Declared(layer="building", crs="EPSG:4547", vertical_datum="city"))
    assert shapely.from_wkb(stored(store)[0][1]).bounds == pytest.approx((5e5, 4.19e6, 500_012, 4_190_008), abs=1e-3)


def test_each_named_mesh_is_an_object(store: Store, tmp_path: Path) -> None:
    scene = trimesh.Scene()
    for k in range(3):
        scene.add_geometry(
            house(), node_name=f"h{k}", transform=trimesh.transformations.translation_matrix([30 * k, 0, 0])
        )
    scene.export(tmp_path / "row.glb")
    said = Declared(layer="building", anchor=HERE, up="z", vertical_datum="city")
    report = ingest(store, [tmp_path / "row.glb"], said)
    assert report.files[0].loaded == 3, report.summary()
    assert [row[0] for row in stored(store)] == ["row/h0", "row/h1", "row/h2"]


def test_a_model_without_a_place_says_how_to_give_one(store: Store, tmp_path: Path) -> None:
    report = ingest(store, [write(tmp_path / "hall.obj")], Declared(layer="building", vertical_datum="city"))
    assert report.exit_code == 1
    assert report.files[0].setting == "anchor"
    assert "longitude, latitude and height" in (report.files[0].error or "")


@pytest.mark.parametrize("suffix", [".obj", ".glb", ".ply", ".stl"])
@pytest.mark.parametrize("cut", [0.1, 0.5, 0.9])
def test_a_model_cut_short_is_an_error_or_less_of_it(store: Store, tmp_path: Path, suffix: str, cut: float) -> None:
    path = write(tmp_path / f"hall{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    report = ingest(store, [path], Declared(layer="building", anchor=HERE, vertical_datum="city"))
    assert UNEXPECTED not in (report.files[0].error or "")
    assert report.exit_code == 0 or report.files[0].error or report.files[0].refused


def test_points_alone_are_no_model(store: Store, tmp_path: Path) -> None:
    trimesh.PointCloud(np.random.default_rng(1).uniform(size=(20, 3))).export(tmp_path / "dust.ply")
    report = ingest(store, [tmp_path / "dust.ply"], Declared(layer="building", anchor=HERE, vertical_datum="city"))
    assert "no triangle" in (report.files[0].error or "")


def test_a_degree_crs_beside_an_anchor_is_refused(store: Store, tmp_path: Path) -> None:
    said = Declared(layer="building", anchor=HERE, crs="EPSG:4326", vertical_datum="city")
    report = ingest(store, [write(tmp_path / "hall.obj")], said)
    assert "leave out the crs" in (report.files[0].error or "")


def test_an_anchor_of_words_is_refused() -> None:
    with pytest.raises((CimError, ValueError)):
        Declared.model_validate({"anchor": "here,there"})
    assert Declared.model_validate({"anchor": "113.58,37.86,700"}).anchor == (113.58, 37.86, 700.0)


def textured(tmp_path: Path, suffix: str) -> Path:
    """The wedge with an image laid over it from the south: its left half red, its right half blue."""
    pixels = np.zeros((40, 100, 3), np.uint8)
    pixels[:, :50, 0] = pixels[:, 50:, 2] = 255
    material = trimesh.visual.material.SimpleMaterial(image=Image.fromarray(pixels))
    mesh = house()
    uv = np.column_stack([mesh.vertices[:, 0] / 12, mesh.vertices[:, 2] / 5])
    mesh.visual = trimesh.visual.TextureVisuals(uv, material=material)
    return write(tmp_path / f"wedge{suffix}", mesh)


@pytest.mark.parametrize("suffix", [".obj", ".glb"])
def test_a_model_keeps_its_image(store: Store, tmp_path: Path, suffix: str) -> None:
    path = textured(tmp_path, suffix)
    (report,) = ingest(store, [path], Declared(layer="building", anchor=HERE, vertical_datum="city")).files
    assert (report.loaded, dict(report.warned)) == (1, {})
    body, looks = look_of_the_only_body(store)
    (paint,) = looks.paints
    with Image.open(asset_path(store.settings, paint.image)) as image:
        assert image.size == (100, 40)
        assert image.convert("RGB").getpixel((10, 20)) == (255, 0, 0)
    places = body.vertices[body.indices]
    np.testing.assert_allclose(looks.uv[:, 1], (places[:, 2] - HERE[2]) / 5, atol=1e-4)
    np.testing.assert_allclose(looks.uv[:, 0], (places[:, 0] - places[:, 0].min()) / 12, atol=0.01)


def look_of_the_only_body(store: Store) -> tuple[Bodies, Appearance]:
    with store.connect() as connection:
        ((blob,),) = connection.execute("SELECT faces FROM cim.body").fetchall()
    body = decode([bytes(blob)])
    assert body.appearance is not None
    return body, body.appearance


def test_colours_of_faces_and_of_a_material(store: Store, tmp_path: Path) -> None:
    mesh = house()
    mesh.visual.face_colors = [[255, 0, 0, 255]] * 4 + [[0, 0, 255, 255]] * 4
    path = write(tmp_path / "colours.ply", mesh)
    (report,) = ingest(store, [path], Declared(layer="building", anchor=HERE, vertical_datum="city")).files
    assert dict(report.warned) == {}
    _, looks = look_of_the_only_body(store)
    assert sorted(paint.color for paint in looks.paints) == [(0.0, 0.0, 1.0), (1.0, 0.0, 0.0)]
