"""Declare once, derive everything: two fields of YAML become table, collection, tiles, tree and docs page."""

import ast
import json
import os
import re
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from cim.catalog.common_columns import COMMON_COLUMNS, FILTERABLE, RESERVED, SHOWN
from cim.catalog.read import read_catalog
from cim.city import YANGQUAN
from cim.errors import BadCatalog
from cim.read import tile_rows
from cim.store.connection import connect, initialise, open_store
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from services.docs.catalog_pages import analyses_page, layers_page
from styles.qml import qml
from styles.web import maplibre, tiles3d
from tests.conftest import MakeStore, serving
from tests.factory import EAST, NORTH, write_cityjson
from tiles.build import tile_layer
from tiles.check import Glb

ROOT = Path(__file__).parents[1]
KIOSK = """
layers:
  - id: kiosk
    kind: feature
    geometry: MultiPolygon
    class_code: "0599"
    cim_level: 2
    leaf_level: 16
    title: {zh: 报刊亭, en: Kiosks}
    description: {zh: 街头报刊亭, en: Kiosks in the street}
    object_classes: [CityFurniture]
    fields:
      - {name: owner, role: name, title: {zh: 经营者, en: Owner}, aliases: [经营者]}
      - {name: rent, type: number, unit: CNY, title: {zh: 租金, en: Rent}}
"""


def test_a_layer_of_two_fields_is_everywhere(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    folder = tmp_path / "catalog"
    folder.mkdir()
    (folder / "kiosk.yaml").write_text(KIOSK, "utf-8")
    city = YANGQUAN.model_copy(update={"catalog": folder})
    initialise(store.settings, city)
    objects = {
        "K1": {
            "type": "CityFurniture",
            "box": (EAST, NORTH, 700, 3, 2, 3),
            "attributes": {"经营者": "老王", "rent": 57},
        }
    }
    with open_store(store.settings) as wider:
        report = ingest(wider, [write_cityjson(tmp_path / "k.city.json", objects)], Declared(vertical_datum="city"))
        assert report.files[0].layers == ["kiosk"]
        layer = wider.catalog.layers["kiosk"]
        tile_layer(wider, layer)
        glb = next((wider.settings.tile_store / "kiosk").glob("content/*.glb"))
        assert Glb.read(glb.read_bytes()).table() == {"id": ["K1"], "owner": ["老王"], "rent": [57.0]}
        assert "报刊亭" in layers_page(wider.catalog)
        assert "rent" in layers_page(wider.catalog)
    environment = os.environ | {"CIM_STATE": str(store.settings.state), "CIM_DATABASE_URL": store.url}
    with serving(environment) as url, httpx.Client(base_url=url, timeout=30) as client:
        item = client.get("/ogc/collections/kiosk/items/K1").json()
        assert item["properties"]["owner"] == "老王"
        shown = {column.name for column in SHOWN}
        assert set(item["properties"]) == {"owner", "rent"} | shown
        frame = pa.ipc.open_stream(client.get("/data/kiosk.arrow").content).read_all()
        assert set(frame.column_names) == {"id", "owner", "rent", "geometry"} | shown
        for column in FILTERABLE:
            empty = client.get("/ogc/collections/kiosk/items", params={"filter": f"{column.name} IS NULL"})
            assert empty.status_code == 200, column.name
        assert '"rent": 57.0' in client.get("/ogc/collections/kiosk/items/K1").text
        assert "rent" in client.get("/ogc/collections/kiosk/queryables").json()["properties"]
        tree = {row["id"]: row for row in client.get("/viewer/catalog.json").json()["layers"]}
        assert tree["kiosk"]["count"] == 1
        assert tree["kiosk"]["bodies"]
        assert tree["building"]["unknownCodes"] == []
        assert client.get("/3dtiles/kiosk/tileset.json").status_code == 200


def test_what_makes_a_version_differ_stays_as_it_is() -> None:
    """The hash of a record's content is over these columns in this order: another order would date all objects anew."""
    assert [c.name for c in COMMON_COLUMNS if c.content] == ["geom", "lods", "bodies", "parent_id", "flags", "extra"]


def test_a_field_that_is_added_later_reaches_an_existing_table_and_loses_nothing(
    make_store: MakeStore, tmp_path: Path
) -> None:
    store = make_store()
    folder = tmp_path / "catalog"
    folder.mkdir()
    city = YANGQUAN.model_copy(update={"catalog": folder})
    for text in (KIOSK, KIOSK + "      - {name: size_m2, type: number, title: {zh: 面积, en: Area}}\n"):
        (folder / "kiosk.yaml").write_text(text, "utf-8")
        read_catalog.cache_clear()
        initialise(store.settings, city)
        with open_store(store.settings) as wider:
            objects = {"K1": {"type": "CityFurniture", "box": (EAST, NORTH, 700, 3, 2, 3)}}
            ingest(wider, [write_cityjson(tmp_path / "k.city.json", objects)], Declared(vertical_datum="city"))
    with connect(store.url) as connection:
        assert connection.execute("SELECT id, size_m2 FROM twin.kiosk").fetchall() == [("K1", None)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (KIOSK.replace("geometry: MultiPolygon", "kind_of: x"), "kind_of"),
        (KIOSK.replace("name: rent,", "name: owner,"), "owner"),
        (KIOSK.replace("unit: CNY", "codes: nowhere"), "nowhere"),
        *((KIOSK.replace("name: rent,", f"name: {name},"), name) for name in sorted(RESERVED)),
        (KIOSK.replace("role: name", "role: nmae"), "nmae"),
        (KIOSK.replace("kind: feature", "kind: feature\n    role: kiosks"), "kiosks"),
        (KIOSK + "    style: {label: nmae}", "nmae"),
        (KIOSK + "    style: {fill: red}", "fill"),
        (KIOSK.replace('"0599"', '"9998"'), "class code 9998"),
        (KIOSK + 'data_class: {code: "059", title: {zh: 亭, en: Kiosks}}', "several"),
        (KIOSK.replace("unit: CNY", "codes: building_use"), "its type is text"),
    ],
)
def test_a_catalog_that_contradicts_itself_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "kiosk.yaml").write_text(text, "utf-8")
    with pytest.raises(BadCatalog, match=says):
        read_catalog(tmp_path)


def test_a_city_adds_a_role_and_a_style_beside_its_layer(tmp_path: Path) -> None:
    role = '\nroles: [{id: kiosks, of: layer, title: {zh: 报刊亭, en: Kiosks}, meaning: "where papers are sold"}]\n'
    layer = KIOSK.replace("kind: feature", "kind: feature\n    role: kiosks")
    (tmp_path / "kiosk.yaml").write_text(
        layer + '    style: {fill: "#aa3322", glyph: 报, label: owner}' + role, "utf-8"
    )
    catalog = read_catalog(tmp_path)
    kiosk = catalog.with_role("kiosks")
    assert kiosk
    assert (kiosk.drawn_as.glyph, kiosk.drawn_as.label) == ("报", "owner")
    assert "170,51,34,255" in qml(kiosk, catalog)
    assert maplibre(kiosk, catalog, "")["layers"][0]["paint"]["fill-color"] == "#aa3322"
    assert "#aa3322" in json.dumps(tiles3d(kiosk, catalog))
    assert read_catalog().with_role("kiosks") is None


def test_code_asks_for_declared_roles_only() -> None:
    """A slip in a role's name would never find anything."""
    roles = {(role.of, role.id) for role in read_catalog().roles}
    asked = set()
    for path in [p for package in ("cim", "ingest", "tiles", "services") for p in (ROOT / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            of = {"with_role": "layer", "field": "field"}.get(str(name))
            asked |= {
                (of, a.value) for a in node.args if of and isinstance(a, ast.Constant) and isinstance(a.value, str)
            }
    assert len(asked) > 10
    assert asked <= roles


def test_no_code_path_names_a_layer_or_its_field() -> None:
    """Code asks for roles. A layer's id may stand in data (catalog, sample) and in tests only."""
    catalog = read_catalog()
    # words that are also an ordinary noun of the code are looked for as whole string constants
    names = set(catalog.layers) | {f.name for layer in catalog.layers.values() for f in layer.fields}
    ours = {
        "level",
        "district",
        "address",
        "terrain",
        "water",
        "camera",
        "hydrant",
        *(role.id for role in catalog.roles),
    }
    found = []
    for path in [p for package in ("cim", "ingest", "tiles", "services") for p in (ROOT / package).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and node.value in names - ours:
                found += [f"{path.relative_to(ROOT)}:{node.lineno} {node.value}"]
    for path in (ROOT / "services/viewer/src").rglob("*.ts"):
        if path.name == "generated.ts":
            continue  # types of answers: an icon may be called as a layer is
        text = path.read_text("utf-8")
        found += [
            f"{path.name}: {n}" for n in catalog.layers if re.search(rf"""["'`]{n}["'`]""", text) and n not in ours
        ]
    assert found == []


def test_no_code_of_the_page_names_a_city_or_a_place_in_it() -> None:
    """Where the city is, how high it lies and in which reference system, the server says."""
    west, south, east, north = YANGQUAN.extent or (0, 0, 0, 0)
    heights = range(640, 760)  # of the reference city's ground
    strays = []
    viewer = ROOT / "services/viewer"
    for path in [viewer / "index.html", *(viewer / "src").rglob("*.ts")]:
        text = path.read_text("utf-8")
        degrees = [
            n for n in re.findall(r"\b\d+\.\d+\b", text) if west <= float(n) <= east or south <= float(n) <= north
        ]
        metres = [n for n in re.findall(r"(?<![\w.#])\d{3}(?![\w.])", text) if int(n) in heights]
        named = [word for word in YANGQUAN.name.split() if word in text]
        strays += [(path.name, word) for word in (*degrees, *metres, *named, *re.findall(r"EPSG:\d+", text))]
    assert strays == []


CONTRACT = [
    "building",
    "building_unit",
    "road_segment",
    "district",
    "grid_cell",
    "address",
    "population",
    "parcel",
    "land_cover",
    "parking_lot",
    "parking_space",
    "parking_observation",
    "terrain",
    "orthophoto",
    "point_cloud",
    "control_point",
    "survey_line",
    "hydrant",
    "fire_station",
    "shelter",
    "hospital",
    "school",
    "hazardous_site",
    "pipeline",
    "camera",
    "sensor",
    "sensor_observation",
    "event",
    "component",
    "patrol_track",
    "forest",
    "watchtower",
    "water",
    "city_object",
]


def test_every_layer_of_the_contract_is_declared_in_both_languages_with_its_class() -> None:
    catalog = read_catalog()
    assert set(CONTRACT) <= set(catalog.layers)
    classes = {c.code for c in catalog.classes}
    assert classes == {"01", "02", "03", "04", "05", "06"}
    numbers = [layer.class_code for layer in catalog.layers.values()]
    assert len(set(numbers)) == len(numbers)
    for layer in catalog.layers.values():
        assert layer.class_code[:2] in classes
        for text in (layer.title, layer.description, *(f.title for f in layer.all_fields)):
            assert re.search(r"[\u4e00-\u9fff]|PM|ID", text.zh), (layer.id, text)
            assert re.search(r"[A-Za-z]", text.en), (layer.id, text)
        for field in layer.fields:
            measured = field.name.rsplit("_", 1)[-1] in {"m", "m2", "ha", "t", "mm", "kmh", "deg", "mpa"}
            assert not measured or field.unit, (layer.id, field.name)


def test_each_task_of_the_municipal_plan_finds_its_layers() -> None:
    catalog = read_catalog()
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", (ROOT / "docs/plan.md").read_text("utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 20))
    for _, named in rows:
        layers = re.findall(r"`(\w+)`", named)
        assert layers
        assert set(layers) <= set(catalog.layers)


def test_the_docs_page_is_what_the_catalog_says() -> None:
    page = (ROOT / "docs/layers.md").read_text("utf-8")
    assert page == layers_page(read_catalog()), "docs/layers.md is old: make docs"
    assert (ROOT / "docs/analyses.md").read_text("utf-8") == analyses_page(), "docs/analyses.md is old: make docs"


def test_vector_tiles_and_features_leave_out_what_is_sensitive(make_store: MakeStore, tmp_path: Path) -> None:
    store = make_store()
    point = {"type": "Point", "coordinates": [113.58, 37.86]}
    feature = {
        "type": "Feature",
        "properties": {"id": "C1", "name": "甲", "stream_url": "rtsp://secret"},
        "geometry": point,
    }
    path = tmp_path / "camera.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}), "utf-8")
    assert ingest(store, [path], Declared()).exit_code == 0
    with store.connect() as connection, connection.cursor() as cursor:
        layer = store.catalog.layers["camera"]
        tile = tile_rows.vector_tile(cursor, layer, store.city.srid, (14, 13361, 6327), None)
    assert b"C1" in tile
    assert b"secret" not in tile
