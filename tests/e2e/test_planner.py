"""What a planner does: search, measure, look back in time, bring a file and take it back, share the scene."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pyproj import Transformer

from cim.access.accounts import add_account
from sample_data.terrain import EAST, NORTH, Relief
from tests.conftest import SAMPLE_BUILDINGS, Served
from tests.e2e.page import Viewer, opened

pytestmark = pytest.mark.client
ROOT = Path(__file__).parents[2]
ANOMALY_M = -15.1
TO_DEGREES = Transformer.from_crs(4547, 4326, always_xy=True)


@pytest.fixture(scope="module")
def viewer(sample_city: Served, chromium: Any) -> Iterator[Viewer]:
    with opened(chromium, f"{sample_city.url}/?lean=1&lang=zh") as page:
        page.settle()
        yield page


def camera(viewer: Viewer) -> tuple[float, float, float]:
    found: list[float] = viewer.page.evaluate(
        """() => { const c = window.cim.widget.camera.positionCartographic, d = window.cim.Cesium.Math.toDegrees;
                   return [d(c.longitude), d(c.latitude), c.height] }"""
    )
    return found[0], found[1], found[2]


@pytest.mark.parametrize(
    ("words", "shown", "selected"),
    [
        ("市民中心", "阳泉市民中心", {"layer": "building", "id": "YQ00001"}),
        ("德胜街1号", "阳泉市城区德胜街1号", None),
        ("140302001001001", "140302001001001", {"layer": "grid_cell", "id": "140302001001001"}),
        ("桃河消防", "桃河消防救援站", None),
    ],
)
def test_search_finds_names_addresses_and_codes_and_flies_there(
    viewer: Viewer, words: str, shown: str, selected: dict[str, str] | None
) -> None:
    page = viewer.page
    page.fill("#search", words)
    page.wait_for_selector("#found li")
    page.locator(f'#found button:has(b:text("{shown}"))').filter(
        has_text=re.compile("建筑|地址|单元网格|消防站")
    ).first.click()
    viewer.settle()
    if selected:
        assert page.evaluate("() => window.cim.state.selected.value") == selected
    assert page.evaluate("() => window.cim.state.selected.value !== null")
    page.wait_for_selector("#right dl")
    assert camera(viewer)[2] < 1400


@pytest.mark.parametrize("words", ["113.5830, 37.8625", "37.8625 113.5830", "{x:.1f}, {y:.1f}"])
def test_search_understands_coordinates_in_degrees_and_in_the_citys_plane(viewer: Viewer, words: str) -> None:
    x, y = Transformer.from_crs(4326, 4547, always_xy=True).transform(113.5830, 37.8625)
    viewer.page.fill("#search", words.format(x=x, y=y))
    viewer.page.press("#search", "Enter")
    viewer.settle()
    lon, lat, _ = camera(viewer)
    assert lon == pytest.approx(113.5830, abs=1e-4)
    assert lat == pytest.approx(37.8625, abs=6e-3)  # it looks from the south
    viewer.page.fill("#search", "没有这个地方")
    viewer.page.wait_for_selector("#found .soft")


def test_the_server_ranks_what_equals_before_what_holds(sample_city: Served) -> None:
    found = httpx.get(f"{sample_city.url}/viewer/search", params={"q": "德胜街"}).json()
    assert found[0]["text"] == "德胜街"
    assert all("德胜街" in row["text"] for row in found)
    assert httpx.get(f"{sample_city.url}/viewer/search", params={"q": "100%"}).json() == []
    assert httpx.get(f"{sample_city.url}/viewer/search").status_code == 400


def ground(x: float, y: float) -> tuple[float, float, float]:
    """Return a place of the plan as longitude, latitude and ellipsoidal height."""
    lon, lat = TO_DEGREES.transform(EAST + x, NORTH + y)
    return lon, lat, float(Relief(1).height(np.array([x]), np.array([y]))[0]) + ANOMALY_M


def test_measured_distances_areas_and_heights_are_those_of_the_ground(viewer: Viewer) -> None:
    page = viewer.page
    viewer.show("terrain")
    corners = [ground(300, 520), ground(360, 520), ground(360, 600)]
    viewer.look(*ground(335, 555), distance=260, pitch_deg=-75)
    page.click("#measure")
    clicked = [viewer.window(*corner) for corner in corners]

    def click(*places: tuple[float, float]) -> None:
        for n, (x, y) in enumerate(places, 1):
            page.mouse.click(x, y)
            page.wait_for_function("(n) => document.getElementById('measured').dataset.corners === String(n)", arg=n)

    click(*clicked)
    level = float(page.locator("#measured-level").get_attribute("data-value"))
    assert level == pytest.approx(60 + 80, abs=1.5)
    slope = sum(
        float(np.hypot(length, b[2] - a[2])) for a, b, length in zip(corners, corners[1:], (60, 80), strict=False)
    )
    assert float(page.locator("#measured-slope").get_attribute("data-value")) == pytest.approx(slope, abs=1.8)
    page.click("#measure-area")
    click(*clicked)
    assert float(page.locator("#measured-area").get_attribute("data-value")) == pytest.approx(60 * 80 / 2, rel=0.03)
    page.click("#measure-height")
    click(*clicked[1:])
    rise = corners[2][2] - corners[1][2]
    assert float(page.locator("#measured-height").get_attribute("data-value")) == pytest.approx(rise, abs=0.8)
    assert float(page.locator("#measured-from").get_attribute("data-value")) == pytest.approx(
        corners[1][2] - ANOMALY_M, abs=0.8
    )
    page.click("#measure")
    assert viewer.problems == []


def test_the_time_slider_goes_back_before_the_survey_and_to_now(viewer: Viewer, sample_city: Served) -> None:
    page = viewer.page
    viewer.show("terrain", "building")
    page.evaluate("() => { window.cim.state.selected.value = null }")
    page.click("#time")
    stops = int(page.locator("#time-slider").get_attribute("max"))
    assert stops >= 1
    page.fill("#time-day", "2020-01-01")
    page.dispatch_event("#time-day", "change")
    page.wait_for_function("() => window.cim.catalog.layers.every((l) => l.count === 0)")
    page.locator("#time-slider").evaluate("(s) => { s.value = '0'; s.dispatchEvent(new Event('input')) }")
    page.wait_for_function(
        "(n) => window.cim.catalog.layers.find((l) => l.id === 'building').count === n", arg=SAMPLE_BUILDINGS
    )
    assert "2024" in page.locator("#time-shown").inner_text()
    page.click("#time-now")
    assert page.evaluate("() => window.cim.state.at.value") is None
    page.click("#time")
    viewer.settle()
    assert viewer.problems == []


def test_the_address_brings_the_scene_back(viewer: Viewer, sample_city: Served, chromium: Any) -> None:
    viewer.show("terrain", "building", "road_segment")
    viewer.look(*ground(120, 80), distance=420, pitch_deg=-40)
    viewer.page.evaluate("() => { window.cim.state.selected.value = { layer: 'building', id: 'YQ00001' } }")
    time.sleep(0.6)
    before, address = camera(viewer), viewer.page.url
    assert "#c=" in address
    viewer.page.click("#share")
    assert viewer.page.input_value("#share-address") == address
    viewer.page.click("#share")
    with opened(chromium, address) as again:
        again.settle()
        assert camera(again) == pytest.approx(before, abs=0.2)
        assert again.page.evaluate("() => [...window.cim.state.visible.value].sort()") == [
            "building",
            "road_segment",
            "terrain",
        ]
        assert again.page.evaluate("() => window.cim.state.selected.value") == {"layer": "building", "id": "YQ00001"}
        assert again.problems == []
    past = address.replace("&at=", "&at=2020-01-01T00%3A00%3A00Z")
    assert past != address
    with opened(chromium, past) as again:
        assert again.page.evaluate("() => window.cim.state.at.value") == "2020-01-01T00:00:00Z"
        assert set(again.page.evaluate("() => window.cim.catalog.layers.map((l) => l.count)")) == {0}


def test_the_tree_finds_layers_and_tells_of_them(viewer: Viewer) -> None:
    page = viewer.page
    page.fill("#layer-filter", "消火栓")
    assert page.locator("#left .layer").count() == 1
    page.click("#left .layer .more")
    page.wait_for_selector("#left .details dd:has-text('2024-05-01')")
    details = page.locator("#left .details").inner_text()
    assert "0502" in details
    assert "2024-05-01" in details
    page.click("#left .layer .more")
    page.fill("#layer-filter", "")
    assert page.locator("#left .layer").count() > 20
    page.locator("#left .layer:has(#layer-land_cover) .more").click()
    viewer.show("terrain", "land_cover")
    viewer.look(*ground(0, 900), distance=900, pitch_deg=-60)
    opaque = viewer.pixels()
    page.locator("#left .details input[type=range]").evaluate(
        "(s) => { s.value = '0.1'; s.dispatchEvent(new Event('change')) }"
    )
    viewer.settle()
    assert (np.abs(viewer.pixels() - opaque).sum(axis=2) > 20).mean() > 0.2
    page.evaluate("() => { window.cim.state.opacity.value = {} }")


def test_key_figures_stand_on_the_first_screen(sample_city: Served, chromium: Any) -> None:
    page = chromium.new_page(viewport={"width": 1600, "height": 900})
    page.goto(f"{sample_city.url}/?lean=1&lang=en")
    page.wait_for_selector(".figures [data-figure]")
    shown = dict(
        page.evaluate(
            "() => [...document.querySelectorAll('.figures [data-figure]')].map((d) => [d.dataset.figure, d.innerText])"
        )
    )
    rows = page.evaluate("() => [...document.querySelectorAll('.figures [data-figure]')].map((d) => d.offsetTop)")
    page.close()
    assert len(set(rows)) == 1, "a figure has no room in the strip"
    assert list(shown) == ["building", "population", "grid_cell", "camera", "parking_space", "forest"]
    assert shown["building"].split() == [str(SAMPLE_BUILDINGS), "Buildings"]
    assert "km²" in shown["forest"]


def test_axe_finds_no_serious_fault(viewer: Viewer) -> None:
    axe = ROOT / "tests/node/node_modules/axe-core/axe.min.js"
    if not axe.exists():
        pytest.skip("axe-core isn't installed: make clients")
    viewer.page.add_script_tag(path=str(axe))
    for tool in (None, "analyses", "measure", "time", "upload", "share"):
        if tool:
            viewer.page.click(f"#{tool}")
            time.sleep(0.4)
        found = viewer.page.evaluate(
            "async () => (await axe.run()).violations.map((v) => [v.impact, v.id, v.nodes[0].html])"
        )
        if tool:
            viewer.page.click(f"#{tool}")
        assert [v for v in found if v[0] in ("serious", "critical")] == [], tool


def test_a_file_is_checked_accepted_and_taken_back(changing_city: Served, chromium: Any, tmp_path: Path) -> None:
    with changing_city.store.connect() as connection, connection.cursor() as cursor:
        key = add_account(cursor, "planner", "editor")
        viewer_key = add_account(cursor, "guest", "viewer")

    def hydrant(name: str, coordinates: list[float]) -> dict[str, Any]:
        geometry = {"type": "Point", "coordinates": coordinates}
        return {"type": "Feature", "properties": {"id": name, "名称": name}, "geometry": geometry}

    places = [("NEW-1", [113.58, 37.861]), ("NEW-2", [113.581, 37.862]), ("NEW-3", [])]
    file = tmp_path / "hydrant.geojson"
    collection = {"type": "FeatureCollection", "features": [hydrant(*place) for place in places]}
    file.write_text(json.dumps(collection), "utf-8")

    def count() -> int:
        found = httpx.get(f"{changing_city.url}/ogc/collections/hydrant/items?f=json&limit=1").json()
        return int(found["numberMatched"])

    before = count()
    with opened(chromium, f"{changing_city.url}/?lean=1&lang=zh") as viewer:
        page = viewer.page
        page.click("#upload")
        page.set_input_files("#upload-file", str(file))
        page.fill("#upload-key", viewer_key)
        page.click("#upload-check")
        page.wait_for_selector("#upload-said.fault")
        assert "editor" in page.locator("#upload-said").inner_text()
        page.fill("#upload-key", key)
        page.click("#upload-check")
        page.wait_for_selector("#upload-report", timeout=60_000)
        row = page.locator("#upload-report tr").nth(1).locator("td").all_inner_texts()
        assert row == ["hydrant.geojson", "hydrant", "3", "2", "0", "0", "1"]
        assert page.evaluate("() => window.cim.state.result.value.shapes.length") == 2
        assert "没有几何图形" in page.locator("#upload-report + ul").inner_text()
        with page.expect_popup() as popup:
            page.click("#upload-quality")
        popup.value.wait_for_selector("svg.map")
        assert "质量报告" in popup.value.locator("header").inner_text()
        popup.value.close()
        assert count() == before, "checks leave nothing behind"
        page.click("#upload-accept")
        page.wait_for_selector("#upload-back", timeout=60_000)
        assert count() == before + 2
        page.wait_for_function(
            "(n) => window.cim.catalog.layers.find((l) => l.id === 'hydrant').count === n", arg=before + 2
        )
        page.click("#upload-back")
        page.wait_for_selector("#upload-back", state="detached", timeout=60_000)
        assert count() == before
        page.wait_for_function(
            "(n) => window.cim.catalog.layers.find((l) => l.id === 'hydrant').count === n", arg=before
        )
        assert [p for p in viewer.problems if "403" not in p] == []
