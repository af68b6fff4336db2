"""Results stay: a planner lists them, opens one again, shares and deletes it; and time brings bodies back."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Served
from tests.e2e.page import Viewer, opened

pytestmark = pytest.mark.client
QUARTER = "#c=113.58,37.856,1300,0,-55&l=terrain,building"
PATIENCE_MS = 120_000  # a software GPU may need seconds for a frame
ROWS = "#analysis-results li[data-job]"


@pytest.fixture(scope="module")
def page(sample_city: Served, chromium: Any) -> Iterator[Viewer]:
    # opened before there was a city: what is drawn later is what was made for a moment without it
    with opened(chromium, f"{sample_city.url}/?lean=1&lang=zh{QUARTER}&at=2020-01-01") as viewer:
        viewer.page.set_default_timeout(PATIENCE_MS)
        yield viewer


def test_bodies_come_to_a_page_that_opened_before_there_were_any(page: Viewer) -> None:
    drive = page.page
    shown = """() => {
      const { primitives } = window.cim.widget.scene;
      const urls = [];
      for (let i = 0; i < primitives.length; i++) {
        const p = primitives.get(i);
        const filled = p.root && (p.root.children.length || !p.root.hasEmptyContent);
        if (p.show && p.resource && filled) urls.push(p.resource.url);
      }
      return urls.filter((url) => url.includes('/building/'));
    }"""
    assert drive.evaluate("() => window.cim.catalog.terrain") is False
    assert drive.evaluate(shown) == []
    drive.evaluate("() => { window.cim.state.at.value = null }")
    drive.wait_for_function(f"() => ({shown})().length === 1")
    assert "at=" not in drive.evaluate(shown)[0]
    # moments that are asked for one after the other: the last is shown, whichever comes last
    drive.evaluate("() => { for (const at of ['2025-06-01', '2020-01-01', null]) window.cim.state.at.value = at }")
    drive.wait_for_function("() => window.cim.catalog.layers.find((l) => l.id === 'building').count > 0")
    drive.wait_for_function(f"() => ({shown})().length === 1")
    page.settle()
    assert "at=" not in drive.evaluate(shown)[0]


def test_a_result_is_opened_again_shared_and_deleted(page: Viewer) -> None:
    drive = page.page
    drive.click("#analyses")
    drive.wait_for_selector("#analysis form")
    for cells in ("district", "grid_cell"):
        drive.select_option("#analysis select[name=cells]", cells)
        drive.select_option("#analysis select[name=indicator]", "count")
        drive.click("#analysis button[type=submit]")
        drive.wait_for_selector("#analysis-legend div")
    drive.click("#analysis-results summary")
    drive.wait_for_function(f"() => document.querySelectorAll('{ROWS}').length >= 2")
    newest, before = (drive.locator(ROWS).nth(n) for n in (0, 1))
    assert "单元网格" in newest.inner_text()
    assert "行政区划" in before.inner_text()
    before.locator(".open").click()
    drive.wait_for_function("() => document.querySelector('#analysis select[name=cells]')?.value === 'district'")
    drive.wait_for_selector("#analysis-legend div")
    job = before.get_attribute("data-job")
    drive.wait_for_function("(job) => location.hash.includes(job)", arg=job)
    drive.locator(f"[data-job='{job}'] .share").click()
    drive.wait_for_selector(f"[data-job='{job}'] .share[aria-pressed=true]")
    drive.reload()  # the address leads to the result
    drive.wait_for_selector("#analysis-legend div")
    assert drive.input_value("#analysis select[name=cells]") == "district"
    drive.click("#analysis-results summary")
    drive.wait_for_selector(f"[data-job='{job}'] .open[aria-current=true]")
    drive.locator(f"[data-job='{job}'] .remove").click()
    assert drive.locator(f"[data-job='{job}']").count() == 1
    drive.locator(f"[data-job='{job}'] .remove").click()
    drive.wait_for_selector(f"[data-job='{job}']", state="detached")
    drive.wait_for_function("() => !location.hash.includes('r=')")
    assert page.problems == []
