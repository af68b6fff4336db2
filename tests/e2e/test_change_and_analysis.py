"""A change reaches the page as it stands; an analysis runs from its form and colours the city."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pytest

from cim.access.accounts import add_account
from cim.store.connection import connect
from ingest.delivery.declared import Declared
from ingest.load.pipeline import ingest
from tests.conftest import SAMPLE_BUILDINGS, Served
from tests.e2e.page import Viewer, opened

pytestmark = pytest.mark.client
SECONDS = 60.0  # that it arrives by itself at all; a software GPU may need seconds for a frame
LOADED = "() => performance.getEntriesByType('resource').filter((e) => e.transferSize > 0).map((e) => e.name)"
HOME = "YQ00024"
QUARTER = "#c=113.58,37.856,1300,0,-55&l=terrain,building,parking_lot"  # the first screen loads for a minute


@pytest.fixture(scope="module")
def page(changing_city: Served, editor: httpx.Client, chromium: Any) -> Iterator[Viewer]:
    with opened(chromium, f"{changing_city.url}/?lean=1&lang=zh{QUARTER}") as viewer:
        viewer.page.evaluate("() => { window.sameObject = true }")
        viewer.settle()
        yield viewer


@pytest.fixture(scope="module")
def editor(changing_city: Served) -> Iterator[httpx.Client]:
    with changing_city.store.connect() as connection, connection.cursor() as cursor:
        key = add_account(cursor, "editor", "editor")
    with httpx.Client(base_url=changing_city.url, headers={"X-API-Key": key}, timeout=30) as client:
        make_a_block(client, changing_city)
        yield client


def make_a_block(client: httpx.Client, served: Served) -> None:
    """Move the home's footprint a little: its measured body ends, and the block in its place follows its height."""
    known, feature = names(served), item(client, "building", HOME)
    parts = feature["geometry"]["coordinates"]
    feature["geometry"]["coordinates"] = [[[[a + 2e-6, *b] for a, *b in ring] for ring in part] for part in parts]
    client.put(f"/ogc/collections/building/items/{HOME}", json=feature)
    assert item(client, "building", HOME)["properties"]["lods"] == "1"
    until = time.monotonic() + SECONDS
    while names(served) <= known and time.monotonic() < until:
        time.sleep(0.2)


def names(served: Served) -> set[str]:
    return {p.name for p in (served.store.settings.tile_store / "building").glob("*/*")}


def look_at(viewer: Viewer, feature: dict[str, Any]) -> None:
    x, y = feature["geometry"]["coordinates"][0][0][0][:2]
    viewer.look(x, y, 700, distance=260)
    viewer.settle(calm=15)  # nothing that this view needs is still on its way
    viewer.page.evaluate("() => { performance.clearResourceTimings() }")


def wait_until_seen(viewer: Viewer, before: np.ndarray) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        if (np.abs(viewer.pixels() - before).sum(axis=2) > 30).mean() > 0.004:
            return
    raise AssertionError("nothing changes on the screen")


def item(client: httpx.Client, layer: str, identifier: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/ogc/collections/{layer}/items/{identifier}").json()
    return found


def test_an_edit_arrives_in_the_same_page_with_only_new_hashes(
    page: Viewer, changing_city: Served, editor: httpx.Client
) -> None:
    for height in (60.0, 12.0):
        feature = item(editor, "building", HOME)
        look_at(page, feature)
        known, before = names(changing_city), page.pixels()
        feature["properties"]["height_m"] = height
        answer = editor.put(f"/ogc/collections/building/items/{HOME}", json=feature)
        assert answer.status_code == 200, answer.text
        wait_until_seen(page, before)
        page.settle()
        loaded = {url.split("?")[0].rsplit("/", 1)[-1] for url in page.page.evaluate(LOADED) if "/3dtiles/" in url}
        fresh = loaded - {"tileset.json"}
        assert fresh
        assert not fresh & known, "what didn't change was asked for again"
    assert page.page.evaluate("() => window.sameObject") is True
    assert page.problems == []


def test_a_second_delivery_arrives_too(
    page: Viewer, changing_city: Served, editor: httpx.Client, tmp_path: Any
) -> None:
    lot = item(editor, "parking_lot", "P01")
    x, y = lot["geometry"]["coordinates"][0][0][0][:2]
    page.look(x, y, 680, distance=250, pitch_deg=-80)
    before = page.pixels()
    shifted = [[[[a + 0.0006, b, *c] for a, b, *c in ring] for ring in part] for part in lot["geometry"]["coordinates"]]
    lot["geometry"]["coordinates"] = shifted
    lot["properties"] = {"id": "P01", "name": lot["properties"]["name"], "spaces": lot["properties"]["spaces"]}
    path = tmp_path / "parking_lot.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [lot]}), "utf-8")
    report = ingest(changing_city.store, [path], Declared(dataset=_dataset(changing_city)))
    assert report.files[0].updated == 1, report.summary()
    wait_until_seen(page, before)
    assert page.page.evaluate("() => window.sameObject") is True


def _dataset(served: Served) -> str:
    with served.store.connect() as connection:
        row = connection.execute("SELECT dataset FROM twin.parking_lot WHERE id = 'P01' LIMIT 1").fetchone()
    assert row
    return str(row[0])


def test_a_bound_of_valid_that_passes_changes_the_page(
    page: Viewer, changing_city: Served, editor: httpx.Client
) -> None:
    feature = item(editor, "building", HOME)
    look_at(page, feature)
    page.settle()
    time.sleep(1.0)
    before = page.pixels()
    moment = datetime.now(UTC) + timedelta(seconds=12)
    feature["properties"]["height_m"] = 90.0
    address = f"/ogc/collections/building/items/{HOME}"
    assert editor.put(address, params={"datetime": moment.isoformat()}, json=feature).status_code == 200
    time.sleep(3.0)
    assert (np.abs(page.pixels() - before).sum(axis=2) > 30).mean() < 0.004, "it shows before its time"
    assert item(editor, "building", HOME)["properties"]["height_m"] != 90.0
    wait_until_seen(page, before)
    assert item(editor, "building", HOME)["properties"]["height_m"] == 90.0


def test_an_analysis_runs_from_its_form_and_colours_the_city(page: Viewer, changing_city: Served) -> None:
    drive = page.page
    page.show("terrain")
    page.look(113.58, 37.861, 680, distance=2200, pitch_deg=-70)
    before = page.pixels()[:, 280:600]  # between the panels
    drive.click("#analyses")
    drive.wait_for_selector("#analysis form")
    drive.select_option("#analysis select[name=cells]", "grid_cell")
    drive.select_option("#analysis select[name=indicator]", "count")
    drive.click("#analysis button[type=submit]")
    drive.wait_for_selector("#analysis-legend div")
    time.sleep(0.5)
    page.settle()
    assert (np.abs(page.pixels()[:, 280:600] - before).sum(axis=2) > 40).mean() > 0.1
    legend = drive.locator("#analysis-legend div").all_inner_texts()
    assert len(legend) == 5
    assert str(SAMPLE_BUILDINGS) in drive.locator("#analysis-figures").inner_text()
    assert drive.locator("#analysis .check").get_attribute("data-passed") == "true"
    colors = drive.evaluate("() => [...document.querySelectorAll('#analysis-legend i')].map((i) => i.style.background)")
    assert len(set(colors)) == 5
    assert "单元统计" in drive.locator("#analysis-choice").inner_text()
    drive.click("#language")
    drive.wait_for_selector("#analysis-choice option:text-is('Cell statistics')", state="attached")
    assert drive.locator("#analysis-legend div").count() == 5
    drive.click("#language")
    drive.wait_for_selector("#analysis-choice option:text-is('单元统计')", state="attached")
    drive.click("#analysis-clear")
    for _ in range(40):  # the old picture stays until the new one covers it
        time.sleep(0.25)
        page.settle()
        if (left := (np.abs(page.pixels()[:, 280:600] - before).sum(axis=2) > 40).mean()) < 0.05:
            break
    assert left < 0.05  # the result covers more than twice that


def test_an_incident_is_placed_on_the_map_and_a_wrong_input_is_said(page: Viewer, changing_city: Served) -> None:
    drive = page.page
    drive.select_option("#analysis-choice", "incident")
    drive.wait_for_selector("#analysis-place")
    drive.click("#analysis button[type=submit]")
    drive.wait_for_selector("#analysis [role=alert]")
    assert "lon" in drive.locator("#analysis [role=alert]").inner_text()
    drive.click("#analysis-place")
    drive.mouse.click(430, 330)
    drive.fill("#analysis input[name=radius_m]", "250")
    drive.click("#analysis button[type=submit]")
    drive.wait_for_selector("#analysis-legend div")
    lon = float(drive.input_value("#analysis input[name=lon]"))
    assert 113.56 < lon < 113.6
    assert "救援可达范围" in drive.locator("#analysis-legend").inner_text()
    assert "min" in drive.locator("#analysis-figures").inner_text()
    drive.click("#analyses")
    assert page.problems == [] or all("400" in problem for problem in page.problems)


def test_a_car_parks_week_is_a_chart(page: Viewer, changing_city: Served) -> None:
    drive = page.page
    drive.evaluate("() => { window.cim.state.selected.value = { layer: 'parking_lot', id: 'P02' } }")
    drive.wait_for_selector("#right .chart path")
    assert "占用泊位" in drive.locator("#right .chart").inner_text()
    hours = drive.locator("#right .chart path").get_attribute("d").count("L")
    assert hours == 7 * 24 - 1
    drive.evaluate("() => { window.cim.state.selected.value = null }")


def test_who_follows_goes_on_after_the_database_dropped_it(
    page: Viewer, changing_city: Served, editor: httpx.Client
) -> None:
    with connect(changing_city.store.url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    time.sleep(3.0)
    page.show("terrain", "building")
    for _ in range(20):
        try:
            feature = item(editor, "building", HOME)
            break
        except (KeyError, ValueError, httpx.HTTPError):
            time.sleep(0.5)
    look_at(page, feature)
    before = page.pixels()
    feature["properties"]["height_m"] = 25.0
    assert editor.put(f"/ogc/collections/building/items/{HOME}", json=feature).status_code == 200
    wait_until_seen(page, before)
