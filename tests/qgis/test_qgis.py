"""The GIS officer's QGIS against the server: pages, boxes, Chinese, vector tiles, and the ready-made project."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import SAMPLE_ROWS, Served

PYTHON = Path("/usr/bin/python3")
PROBE = Path(__file__).with_name("probe.py")
pytestmark = pytest.mark.client
QGIS_TYPES = {"text": "String", "integer": "Integer", "number": "Real"}


@pytest.fixture(scope="module")
def seen(sample_city: Served, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL"))}
    check = subprocess.run([PYTHON, "-c", "import qgis.core"], capture_output=True, check=False, env=environment)
    if check.returncode:
        pytest.skip("QGIS isn't installed: apt-get install qgis python3-qgis qgis-providers")
    folder = tmp_path_factory.mktemp("qgis")
    folder.chmod(0o700)
    project = folder / "project.qgs"
    project.write_bytes(httpx.get(f"{sample_city.url}/qgis/project.qgs", timeout=60).content)
    for layer in sample_city.store.catalog.layers.values():
        if layer.geometry:
            (folder / f"{layer.id}.qml").write_bytes(
                httpx.get(f"{sample_city.url}/styles/{layer.id}/qml?lang=zh").content
            )
    environment |= {"QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    command = [PYTHON, PROBE, sample_city.url, project, str(folder / "LAYER.qml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.split("FOUND", 1)[1])
    return found


def database(served: Served, sql: str) -> list[Any]:
    with served.store.connect() as connection:
        return [row[0] for row in connection.execute(sql.encode()).fetchall()]


def test_every_building_comes_once_over_several_pages(seen: dict[str, Any], sample_city: Served) -> None:
    stored = database(sample_city, "SELECT id FROM twin.building WHERE upper_inf(recorded)")
    assert seen["count"] == seen["distinct"] == len(stored) == SAMPLE_ROWS


def test_a_box_holds_what_postgis_finds(seen: dict[str, Any], sample_city: Served) -> None:
    box = "ST_MakeEnvelope(113.578, 37.859, 113.581, 37.862, 4326)"
    sql = f"SELECT id FROM twin.building WHERE upper_inf(recorded) AND ST_Intersects(ST_Transform(geom, 4326), {box})"
    assert set(seen["box"]) == set(database(sample_city, sql))
    assert seen["box"]


def test_chinese_and_field_types(seen: dict[str, Any], sample_city: Served) -> None:
    assert seen["named"] == ["阳泉市民中心"]
    assert seen["where"] == sorted(
        database(sample_city, "SELECT id FROM twin.building WHERE upper_inf(recorded) AND use = 'public'")
    )
    for field in sample_city.store.catalog.layers["building"].fields:
        filled = database(sample_city, f'SELECT count("{field.name}") FROM twin.building WHERE upper_inf(recorded)')[0]
        if not filled:
            continue  # QGIS 3.22 takes types from the first features, and a field without values is text to it
        assert seen["fields"][field.name].startswith(QGIS_TYPES[field.type]), field.name


def test_vector_tiles_are_drawn(seen: dict[str, Any]) -> None:
    assert seen["tiles valid"]
    assert seen["tiles drawn"] > 0.01


def test_the_project_has_every_filled_layer_in_its_class_and_style(seen: dict[str, Any], sample_city: Served) -> None:
    assert seen["project read"]
    assert seen["crs"] == "EPSG:4547"
    assert seen["invalid"] == []
    catalog = sample_city.store.catalog
    filled = {
        layer.id: count
        for layer in catalog.layers.values()
        if layer.geometry
        and (count := database(sample_city, f"SELECT count(*) FROM twin.{layer.id} WHERE upper_inf(recorded)")[0])
    }
    assert seen["counts"] == filled
    for data_class in catalog.classes:
        members = {name for name in filled if catalog.layers[name].class_code.startswith(data_class.code)}
        assert set(seen["groups"].get(f"{data_class.code} {data_class.title.zh}", [])) == members
    for name in filled:
        layer, style = catalog.layers[name], catalog.layers[name].drawn_as
        assert seen["titles"][name] == layer.title.zh
        field = next((f for f in layer.fields if f.name == style.color_by), None)
        if field and field.codes:
            colors = {c.value: c.color for c in catalog.code_lists[field.codes].codes}
            assert {k: v for k, v in seen["categories"][name].items() if k} == colors
        else:
            assert seen["renderers"][name] == "singleSymbol"
        if style.label:
            assert seen["labels"][name] == style.label
        share, colors_seen = seen["drawn"][name]
        assert share > 0.0005, f"{name} isn't drawn"
        assert colors_seen > 1
        assert seen["qml"][name], f"{name}: the QML doesn't load"


def test_styles_of_web_clients(sample_city: Served) -> None:
    for layer in sample_city.store.catalog.layers.values():
        answer = httpx.get(f"{sample_city.url}/styles/{layer.id}/maplibre")
        assert answer.status_code == (200 if layer.geometry else 404)
        if layer.geometry:
            style = answer.json()
            assert style["version"] == 8
            assert style["layers"]
            assert style["sources"][layer.id]["tiles"][0].startswith(sample_city.url)
    conditions = httpx.get(f"{sample_city.url}/styles/building/3dtiles").json()["color"]["conditions"]
    assert ["${use} === 'residential'", "color('#d9a066')"] in conditions
    assert httpx.get(f"{sample_city.url}/styles/building/sld").status_code == 404
