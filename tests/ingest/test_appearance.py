"""Colours and images on surfaces: read from CityJSON, CityGML and models, kept with the body, seen in the tile."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from cim.geometry.appearance import Appearance, Paint
from cim.geometry.body_batch import WALL, Bodies, from_sizes, reversed_faces
from cim.geometry.canonical import canonical
from cim.geometry.stored_form import decode, encode
from cim.store.assets import asset_path
from cim.store.connection import Store
from ingest.delivery.declared import Declared
from ingest.delivery.report import FileReport
from ingest.load.pipeline import ingest
from tests.conftest import MakeStore
from tests.factory import EAST, NORTH, box, cityjson, khronos_findings
from tiles.build import tile_layer

CITY_HEIGHTS = Declared(vertical_datum="city")
HOUSE = (EAST, NORTH, 700, 20, 10, 12)
CORNERS = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
SOUTH, EASTERN, NORTHERN, WESTERN, ROOF = 2, 3, 4, 5, 1  # faces of a box
GLASS = (0.2, 0.4, 0.6)


def gradient(path: Path, width: int = 200, height: int = 120, suffix_format: str = "PNG") -> Path:
    """An image whose red tells the column, green the row, so that a place in it is known by its colour."""
    columns, rows = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    pixels = np.stack([columns, rows, np.full_like(rows, 90)], axis=2).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, suffix_format)
    return path


def model(image: str = "look/south.png", **changes: Any) -> dict[str, Any]:
    """A house with an image on its south wall, one that repeats on its roof, and glass to the east."""
    document = cityjson({"house": {"box": HOUSE}})
    document["appearance"] = {
        "materials": [{"name": "glass", "diffuseColor": list(GLASS), "transparency": 0.5}],
        "textures": [
            {"type": "PNG", "image": image, "wrapMode": "none"},
            {"type": "PNG", "image": "look/tile.png", "wrapMode": "wrap"},
        ],
        "vertices-texture": [*CORNERS, [4.0, 0.0], [4.0, 2.0], [0.0, 2.0]],
    } | changes
    geometry = document["CityObjects"]["house"]["geometry"][0]
    nothing: list[Any] = [[None]]
    geometry["texture"] = {"day": {"values": [[nothing, [[1, 0, 4, 5, 6]], [[0, 0, 1, 2, 3]], *[nothing] * 3]]}}
    geometry["material"] = {"day": {"values": [[None, None, None, 0, None, None]]}}
    return document


def load(store: Store, folder: Path, document: dict[str, Any], name: str = "house.city.json") -> FileReport:
    gradient(folder / "look/south.png")
    gradient(folder / "look/tile.png", 64, 64)
    (folder / name).write_text(json.dumps(document), "utf-8")
    (report,) = ingest(store, [folder / name], CITY_HEIGHTS).files
    return report


def stored(store: Store, identifier: str = "house") -> Bodies:
    with store.connect() as connection:
        row = connection.execute(
            "SELECT b.faces FROM twin.building v JOIN cim.body b ON b.hash = v.bodies[cardinality(v.bodies)]"
            " WHERE v.id = %s AND upper_inf(v.recorded)",
            [identifier],
        ).fetchone()
    assert row
    return decode([bytes(row[0])])


def leaf(store: Store) -> Path:
    """The content of the finest tile: the one with images, or the largest."""
    tile_layer(store, store.catalog.layers["building"])
    return max((store.settings.tile_store / "building/content").glob("*.glb"), key=lambda p: p.stat().st_size)


def test_a_body_keeps_its_look(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    report = load(store, tmp_path, model())
    assert (report.loaded, dict(report.warned)) == (1, {})
    looks = stored(store).appearance
    assert looks is not None
    paint = {face: looks.paints[p] if p >= 0 else None for face, p in enumerate(looks.face_paint)}
    assert [face for face, found in paint.items() if found is None] == [0, NORTHERN, WESTERN]
    assert (paint[EASTERN].color, paint[EASTERN].opacity) == (GLASS, 0.5)
    assert paint[ROOF].wrap == "repeat"
    image = asset_path(store.settings, paint[SOUTH].image)
    assert image.read_bytes() == (tmp_path / "look/south.png").read_bytes()


def test_the_same_file_again_changes_nothing_and_a_new_image_does(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    load(store, tmp_path, model())
    assert load(store, tmp_path, model()).unchanged == 1
    gradient(tmp_path / "look/south2.png", 100, 100)
    assert load(store, tmp_path, model("look/south2.png")).updated == 1


def test_a_place_on_the_wall_has_the_colour_that_it_has_in_the_image(make_store: MakeStore, tmp_path: Path) -> None:
    """The tile as another library decodes it: on the south wall the colour tells how far along and how high it is."""
    store = make_store()
    load(store, tmp_path, model())
    scene = trimesh.load(leaf(store), process=False, force="scene")
    by_name = {mesh.visual.material.name: mesh for mesh in scene.geometry.values()}
    assert set(by_name) == {"WallSurface", "Image 1", "Image 2", "Glass"}
    wall = next(m for m in by_name.values() if m.visual.material.name != "WallSurface" and is_south(m))
    sheet = np.asarray(wall.visual.material.baseColorTexture.convert("RGB")).astype(float)
    middle = wall.triangles.mean(axis=1)
    uv = wall.visual.uv[wall.faces].mean(axis=1)  # of trimesh: v upwards
    seen = sheet[((1 - uv[:, 1]) * sheet.shape[0]).astype(int), (uv[:, 0] * sheet.shape[1]).astype(int)]
    low, high = wall.vertices.min(axis=0), wall.vertices.max(axis=0)
    along = (middle[:, 0] - low[0]) / (high[0] - low[0])
    down = (high[1] - middle[:, 1]) / (high[1] - low[1])
    expected = np.stack([255 * along, 255 * down, np.full(len(along), 90.0)], axis=1)
    assert np.abs(seen - expected).max() < 12  # of JPEG


def is_south(mesh: Any) -> bool:
    return bool((mesh.face_normals[:, 2] > 0.9).all())  # z of glTF is south


def test_an_image_that_repeats_keeps_its_coordinates_and_the_validator_is_content(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store()
    load(store, tmp_path, model())
    glb = leaf(store)
    scene = trimesh.load(glb, process=False, force="scene")
    (roof,) = [m for m in scene.geometry.values() if (m.face_normals[:, 1] > 0.9).all()]
    np.testing.assert_allclose(roof.visual.uv.max(axis=0) - roof.visual.uv.min(axis=0), [4, 2], atol=1e-6)
    assert roof.visual.material.baseColorTexture.size == (64, 64)
    assert khronos_findings([glb]) == []


def test_what_is_finer_than_can_be_seen_is_made_coarser(make_store: MakeStore, tmp_path: Path) -> None:
    """A wall of 20 m by 12 m in 4,000 by 2,400 pixels: at 4 cm a pixel 500 by 300 are enough."""
    store = make_store()
    document = model("big.jpg")
    gradient(tmp_path / "big.jpg", 4000, 2400, "JPEG")
    load(store, tmp_path, document)
    scene = trimesh.load(leaf(store), process=False, force="scene")
    (wall,) = [m for m in scene.geometry.values() if m.visual.material.name != "WallSurface" and is_south(m)]
    width, height = wall.visual.material.baseColorTexture.size
    assert width * height == pytest.approx(500 * 300, rel=0.7)
    assert width < 700


def test_many_images_share_one_sheet(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    houses = {f"h{n}": {"box": (EAST + 30 * n, NORTH, 700, 20, 10, 12)} for n in range(12)}
    document = cityjson(houses)
    textures = []
    for n, house in enumerate(document["CityObjects"].values()):
        name = f"look/{n}.png"
        gradient(tmp_path / name, 50 + n, 40 + n)
        textures.append({"type": "PNG", "image": name})
        house["geometry"][0]["texture"] = {"": {"values": [[[[None]]] * 2 + [[[n, 0, 1, 2, 3]]] + [[[None]]] * 3]}}
    document["appearance"] = {"textures": textures, "vertices-texture": CORNERS}
    load(store, tmp_path, document)
    leaf(store)
    triangles = 0
    for glb in (store.settings.tile_store / "building/content").glob("*.glb"):
        scene = trimesh.load(glb, process=False, force="scene")
        imaged = [m for m in scene.geometry.values() if m.visual.material.name.startswith("Image")]
        assert len(imaged) <= 1
        triangles += sum(len(mesh.faces) for mesh in imaged)
    assert triangles == 24


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("look/none.png", "isn't beside the file"),
        ("../outside.png", "outside the file's folder"),
        ("look/text.png", "can't be read"),
        ("look/cut.png", "can't be read"),
    ],
)
def test_an_image_that_cannot_be_shown_costs_only_itself(
    make_store: MakeStore, tmp_path: Path, image: str, said: str
) -> None:
    store = make_store()
    inside = tmp_path / "delivered"
    gradient(tmp_path / "outside.png")
    gradient(inside / "look/whole.png")
    (inside / "look/text.png").write_text("no image", "utf-8")
    (inside / "look/cut.png").write_bytes((inside / "look/whole.png").read_bytes()[:400])
    report = load(store, inside, model(image))
    ((warning, houses),) = report.warned.items()
    assert said in warning
    assert houses == ["house"]
    assert report.loaded == 1
    looks = stored(store).appearance
    assert looks is not None
    assert (looks.face_paint >= 0).tolist() == [False, True, False, True, False, False]


@pytest.mark.parametrize(
    "values",
    [
        [[[[None]], [[7, 0, 1, 2, 3]], *[[[None]]] * 4]],  # no such image
        [[[[None]], [[0, 0, 1, 2, 99]], *[[[None]]] * 4]],  # no such place
        [[[[None]], [[0, 0, 1, 2]], *[[[None]]] * 4]],  # too few places
        [[[[None]]]],  # too few faces
        [[[[None]], [[0, 0, 1, 2, -1]], *[[[None]]] * 4]],
        "nonsense",
        None,
    ],
)
def test_texture_values_that_do_not_fit_are_left_out_with_a_warning(
    make_store: MakeStore, tmp_path: Path, values: Any
) -> None:
    store = make_store()
    document = model()
    document["CityObjects"]["house"]["geometry"][0]["texture"] = {"day": {"values": values}}
    report = load(store, tmp_path, document)
    assert report.loaded == 1
    assert list(report.warned) == ["materials or textures that don't fit its surfaces left out"]


def test_a_body_turned_around_turns_its_texture_with_it() -> None:
    corners = np.array(box(0, 0, 0, 1, 1, 1))
    faces = [[3, 2, 1, 0], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
    uv = np.tile(np.array(CORNERS, np.float32), (6, 1))
    looks = Appearance((Paint((0.5, 0.5, 0.5)),), np.zeros(6, np.int64), uv)
    indices = [i for face in faces for i in face]
    body = canonical(from_sizes(corners, indices, [4] * 6, [1] * 6, [6], [WALL] * 6, looks)).bodies
    turned = reversed_faces(body, np.array([True]))
    assert turned.appearance is not None
    assert body.appearance is not None
    before = {(*body.vertices[i], *st) for i, st in zip(body.indices, body.appearance.uv.tolist(), strict=True)}
    after = {(*turned.vertices[i], *st) for i, st in zip(turned.indices, turned.appearance.uv.tolist(), strict=True)}
    assert before == after
    stored_form = encode(canonical(turned).bodies)
    assert encode(decode(stored_form)) == stored_form


GML2 = (
    '<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"'
    ' xmlns:bldg="http://www.opengis.net/citygml/building/2.0" xmlns:app="http://www.opengis.net/citygml/appearance/2.0">'
    '<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs:EPSG::4547" srsDimension="3"/></gml:boundedBy>'
)
GML3 = (
    '<core:CityModel xmlns:core="http://www.opengis.net/citygml/3.0" xmlns:gml="http://www.opengis.net/gml/3.2"'
    ' xmlns:con="http://www.opengis.net/citygml/construction/3.0" xmlns:bldg="http://www.opengis.net/citygml/building/3.0"'
    ' xmlns:app="http://www.opengis.net/citygml/appearance/3.0">'
    '<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs:EPSG::4547" srsDimension="3"/></gml:boundedBy>'
)
SURFACES = ["GroundSurface", "RoofSurface", *["WallSurface"] * 4]


def gml_house(three: bool) -> str:
    """The house of `model`, northing before easting as EPSG:4547 has it."""
    corners = box(*HOUSE)
    space, solid = ("con", "core:lod2Solid") if three else ("bldg", "bldg:lod2Solid")
    bounded = "core:boundary" if three else "bldg:boundedBy"
    surface = "core:lod2MultiSurface" if three else "bldg:lod2MultiSurface"
    faces = [[3, 2, 1, 0], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
    walls = ""
    for number, (face, name) in enumerate(zip(faces, SURFACES, strict=True)):
        ring = [corners[i] for i in (*face, face[0])]
        numbers = " ".join(f"{north} {east} {z}" for east, north, z in ring)
        walls += (
            f'<{bounded}><{space}:{name} gml:id="s{number}"><{surface}><gml:MultiSurface><gml:surfaceMember>'
            f'<gml:Polygon gml:id="p{number}"><gml:exterior><gml:LinearRing gml:id="r{number}">'
            f"<gml:posList>{numbers}</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>"
            f"</gml:surfaceMember></gml:MultiSurface></{surface}></{space}:{name}></{bounded}>"
        )
    members = "".join(f'<gml:surfaceMember xlink:href="#p{n}"/>' for n in range(6))
    return (
        '<core:cityObjectMember xmlns:xlink="http://www.w3.org/1999/xlink"><bldg:Building gml:id="house">'
        f"<{solid}><gml:Solid><gml:exterior><gml:Shell>{members}</gml:Shell></gml:exterior></gml:Solid></{solid}>"
        f"{walls}</bldg:Building></core:cityObjectMember>"
    ).replace("gml:Shell", "gml:Shell" if three else "gml:CompositeSurface")


def texture_2(image: str, wrap: str, number: int, coordinates: str) -> str:
    return (
        f"<app:surfaceDataMember><app:ParameterizedTexture><app:imageURI>{image}</app:imageURI>"
        f'<app:wrapMode>{wrap}</app:wrapMode><app:target uri="#p{number}"><app:TexCoordList>'
        f'<app:textureCoordinates ring="#r{number}">{coordinates}</app:textureCoordinates>'
        "</app:TexCoordList></app:target></app:ParameterizedTexture></app:surfaceDataMember>"
    )


def texture_3(image: str, wrap: str, number: int, coordinates: str) -> str:
    return (
        f"<app:surfaceData><app:ParameterizedTexture><app:imageURI>{image}</app:imageURI>"
        f"<app:wrapMode>{wrap}</app:wrapMode><app:textureParameterization><app:TextureAssociation>"
        f"<app:target>#p{number}</app:target><app:textureParameterization><app:TexCoordList>"
        f"<app:textureCoordinates>{coordinates}</app:textureCoordinates><app:ring>#r{number}</app:ring>"
        "</app:TexCoordList></app:textureParameterization></app:TextureAssociation></app:textureParameterization>"
        "</app:ParameterizedTexture></app:surfaceData>"
    )


def gml_looks(three: bool, inside: bool) -> str:
    texture, surface = (texture_3, "surfaceData") if three else (texture_2, "surfaceDataMember")
    member = "appearance" if inside else "appearanceMember"
    prefix = "core" if inside and three else "app"
    return (
        f"<{prefix}:{member}><app:Appearance><app:theme>day</app:theme>"
        + texture("look/south.png", "none", SOUTH, "0 0 1 0 1 1 0 1 0 0")
        + texture("look/tile.png", "wrap", ROOF, "0 0 4 0 4 2 0 2 0 0")
        + f"<app:{surface}><app:X3DMaterial><app:diffuseColor>0.2 0.4 0.6</app:diffuseColor>"
        f"<app:transparency>0.5</app:transparency><app:target>#s{EASTERN}</app:target></app:X3DMaterial></app:{surface}>"
        f"</app:Appearance></{prefix}:{member}>"
    )


@pytest.mark.parametrize("three", [False, True], ids=["2.0", "3.0"])
@pytest.mark.parametrize("where", ["before", "after", "inside"])
def test_the_same_house_in_citygml_is_the_same_content(
    make_store: MakeStore, tmp_path: Path, three: bool, where: str
) -> None:
    store = make_store()
    load(store, tmp_path, model())
    house, looks = gml_house(three), gml_looks(three, where == "inside")
    if where == "inside":
        house = house.replace('<bldg:Building gml:id="house">', f'<bldg:Building gml:id="house">{looks}')
    parts = {"before": looks + house, "after": house + looks, "inside": house}
    path = tmp_path / "house.gml"
    path.write_text((GML3 if three else GML2) + parts[where] + "</core:CityModel>", "utf-8")
    (report,) = ingest(store, [path], CITY_HEIGHTS).files
    assert (report.error, dict(report.warned), report.unchanged) == (None, {}, 1)


def test_texture_coordinates_computed_from_places(make_store: MakeStore, tmp_path: Path) -> None:
    """TexCoordGen: s runs along the wall from the west, t from its foot; CityGML 2.0, 9.4."""
    store = make_store()
    gradient(tmp_path / "look/south.png")
    row_s = f"0 0.05 0 {-0.05 * EAST}"  # of north, east, height, 1
    row_t = f"0 0 {1 / 12} {-700 / 12}"
    looks = gml_looks(three=False, inside=False).replace("app:TexCoordList", "app:TexCoordGen")
    begin, end = looks.index('<app:textureCoordinates ring="#r2"'), looks.index("</app:TexCoordGen>")
    looks = looks[:begin] + f"<app:worldToTexture>{row_s} {row_t} 0 0 0 1</app:worldToTexture>" + looks[end:]
    path = tmp_path / "house.gml"
    path.write_text(GML2 + gml_house(three=False) + looks + "</core:CityModel>", "utf-8")
    ingest(store, [path], CITY_HEIGHTS)
    body = stored(store)
    assert body.appearance is not None
    south = np.flatnonzero(body.face_of_ring[body.ring_of_index] == SOUTH)
    points = body.vertices[body.indices[south]]
    expected = np.stack([(points[:, 0] - EAST) / 20, (points[:, 2] - 700) / 12], axis=1)
    np.testing.assert_allclose(body.appearance.uv[south], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("0 0 1 0 1 1 0 1 0 0", "0 0 1 0 1 1"),  # too few
        ("0 0 1 0 1 1 0 1 0 0", "0 0 1 0 1 1 0 1 0"),  # odd
        ("0 0 1 0 1 1 0 1 0 0", "0 0 1 x 1 1 0 1 0 0"),
        ("0 0 1 0 1 1 0 1 0 0", "0 0 1 nan 1 1 0 1 0 0"),
        ("0.2 0.4 0.6", "0.2 0.4"),
        ('ring="#r2"', 'ring="#nowhere"'),
    ],
)
def test_a_broken_appearance_costs_only_itself(make_store: MakeStore, tmp_path: Path, before: str, after: str) -> None:
    store = make_store()
    gradient(tmp_path / "look/south.png")
    gradient(tmp_path / "look/tile.png")
    looks = gml_looks(three=False, inside=False)
    assert before in looks
    path = tmp_path / "house.gml"
    path.write_text(GML2 + gml_house(three=False) + looks.replace(before, after) + "</core:CityModel>", "utf-8")
    (report,) = ingest(store, [path], CITY_HEIGHTS).files
    assert (report.error, report.loaded) == (None, 1)
    assert list(report.warned) == ["texture coordinates that don't fit the surface's outline left out"]
    assert stored(store).appearance is not None
