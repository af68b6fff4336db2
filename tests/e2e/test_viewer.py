"""The page that a planner gets, in a real browser: known objects picked, every layer seen, nothing from outside."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from cim.store.schema import table
from tests.conftest import Served
from tests.e2e.page import Viewer, opened
from tiles.check import check_tileset

ROOT = Path(__file__).parents[2]
ANOMALY_M = -15.1
pytestmark = pytest.mark.client


@pytest.fixture(scope="module")
def viewer(sample_city: Served, chromium: Any) -> Iterator[Viewer]:
    with opened(chromium, f"{sample_city.url}/?lean=1&lang=zh") as page:
        yield page


def tops(served: Served, where: str, layer: str = "building") -> list[tuple[str, float, float, float]]:
    """Return (id, lon, lat, ellipsoidal height of the top) of bodies."""
    sql = f"""SELECT v.id, ST_X(p), ST_Y(p), b.z_max + {ANOMALY_M} FROM (
                SELECT *, ST_Transform(ST_PointOnSurface(ST_Force2D(geom)), 4326) AS p FROM twin."{layer}"
                WHERE upper_inf(recorded) AND bodies IS NOT NULL) v
              JOIN cim.body b ON b.hash = v.bodies[cardinality(v.bodies)] WHERE {where} ORDER BY v.id LIMIT 3"""
    with served.store.connect("server") as connection:
        return connection.execute(sql.encode()).fetchall()


def test_known_buildings_are_picked_where_they_are_drawn(viewer: Viewer, sample_city: Served) -> None:
    lod2 = tops(sample_city, "v.lods = '{2.2}' AND v.name IS NULL AND v.storeys < 9")
    lod1 = tops(sample_city, "v.lods = '{1}'")
    named = tops(sample_city, "v.name = '工人文化宫'")
    chosen = [*lod2[:2], *lod1[:2], *named]
    assert len(chosen) == 5
    viewer.show("terrain", "building")
    for identifier, lon, lat, top in chosen:
        viewer.look(lon, lat, top, distance=160, pitch_deg=-75)
        assert viewer.pick(*viewer.window(lon, lat, top)) == {"layer": "building", "id": identifier}
        viewer.page.mouse.click(*viewer.window(lon, lat, top))
        item = httpx.get(f"{sample_city.url}/ogc/collections/building/items/{identifier}?f=json").json()
        viewer.page.wait_for_selector(f'#right dd:text-is("{identifier}")')
        shown = viewer.page.evaluate(
            """() => Object.fromEntries([...document.querySelectorAll('#right dd[data-field]')]
                .map((d) => [d.dataset.field, d.textContent]))"""
        )
        assert shown
        for name, value in shown.items():
            expected = item["properties"][name]
            if name == "use":
                assert value in ("住宅", "商业", "办公", "工业", "教育", "医疗", "公共设施", "其他")
            else:
                assert str(value).removesuffix(" m") in (
                    str(expected),
                    f"{expected:g}" if isinstance(expected, float) else "",
                )
        text = viewer.page.locator("#right").inner_text()
        assert "2024-05-01" in text
        assert "阳泉样例" in text
    assert viewer.problems == []


def test_every_layer_with_features_is_seen_and_picked(viewer: Viewer, sample_city: Served) -> None:
    catalog = httpx.get(f"{sample_city.url}/viewer/catalog.json").json()
    with_features = [c for c in catalog["layers"] if c["kind"] == "feature" and c["count"]]
    assert len(with_features) >= 9
    for layer in with_features:
        identifier, lon, lat, height = _centre_of_one(sample_city, layer["id"])
        viewer.show("terrain")
        viewer.look(lon, lat, height, distance=220, pitch_deg=-70)
        without = viewer.pixels()
        viewer.show("terrain", layer["id"])
        changed = (np.abs(viewer.pixels() - without).sum(axis=2) > 12).mean()
        assert changed > 0.0005, f"{layer['id']}: nothing changes on the screen"
        # a sign stands above its place, and on a ridge the drawn ground may lie metres beside the raster's
        lifts = (3, 6, 0, 10, 15, -6) if layer["geometry"] == "Point" else (0,)
        wanted = {"layer": layer["id"], "id": identifier}
        assert any(viewer.pick(*viewer.window(lon, lat, height + lift)) == wanted for lift in lifts), layer["id"]
    assert viewer.problems == []


def _centre_of_one(served: Served, name: str) -> tuple[str, float, float, float]:
    """Return an object's id, and a place inside it with the ground's, or for bodies the roof's, ellipsoidal height."""
    if name == "building":
        return tops(served, "v.lods = '{2.2}' AND v.storeys < 9 AND v.parent_id IS NULL")[0]
    if name == "bridge":
        return tops(served, "v.id = 'BR03-0'", name)[0]  # a deck
    layer = served.store.catalog.layers[name]
    line = layer.geometry == "MultiLineString"
    place = "ST_LineInterpolatePoint(ST_GeometryN(geom, 1), 0.37)" if line else "ST_PointOnSurface(geom)"
    with served.store.connect("server") as connection, connection.cursor() as cursor:
        row = cursor.execute(
            f"""SELECT id, ST_X(w), ST_Y(w), ST_X(p), ST_Y(p) FROM (
                  SELECT id, {place} AS p, ST_Transform({place}, 4326) AS w FROM {table(layer)}
                  WHERE upper_inf(recorded)) v
                ORDER BY abs(ST_X(p) - 463040) + abs(ST_Y(p) - 4192060), id LIMIT 1""".encode()
        ).fetchone()
        assert row
        from cim.read.terrain import heights, surfaces

        ground = served.store.catalog.with_role("ground")
        assert ground
        z = heights(surfaces(cursor, served.store, ground), np.array([row[3]]), np.array([row[4]]))[0]
    return row[0], row[1], row[2], float(z) + ANOMALY_M


def test_roofs_and_walls_differ_and_a_street_view_asks_for_leaves(viewer: Viewer, sample_city: Served) -> None:
    with sample_city.store.connect("server") as connection:
        name = connection.execute(
            "SELECT name FROM cim.tile_root WHERE layer = 'building' AND valid @> now()"
        ).fetchone()
    assert name
    folder = sample_city.store.settings.tile_store / "building"
    leaves = {content.name for content in check_tileset(folder, name[0]).contents if content.is_leaf}
    identifier, lon, lat, top = tops(sample_city, "v.lods = '{2.2}' AND v.name = '工人文化宫'")[0]
    viewer.show("terrain", "building")
    viewer.requests.clear()
    viewer.look(lon, lat, top - 6, distance=90, pitch_deg=-22)
    asked = {url.split("?")[0].rsplit("/", 1)[-1] for url in viewer.requests}
    drawn = viewer.page.evaluate(
        """() => { const p = window.cim.widget.scene.primitives; const names = [];
          for (let i = 0; i < p.length; i++)
            for (const t of p.get(i)._selectedTiles ?? []) names.push(t.content?.url ?? '');
          return names }"""
    )
    assert leaves & (asked | {url.split("?")[0].rsplit("/", 1)[-1] for url in drawn})

    viewer.look(lon, lat, top - 6, distance=130, pitch_deg=-40)
    image = viewer.pixels()
    x, y = viewer.window(lon, lat, top - 1.2)
    column = [k for k in range(int(y), 590, 3) if viewer.pick(x, k) == {"layer": "building", "id": identifier}]
    colors = np.array([image[k, int(x)] for k in column])
    redness = colors[:, 0] - colors[:, 2]
    assert redness.max() - redness.min() > 40, "roof and wall have one colour"
    assert colors[redness.argmin()].min() > 110, "walls are dark"


def test_the_cursor_reads_the_citys_coordinates_and_height(viewer: Viewer, sample_city: Served) -> None:
    _, lon, lat, height = _centre_of_one(sample_city, "fire_station")
    viewer.show("terrain")
    viewer.look(lon, lat, height, distance=150, pitch_deg=-80)
    x, y = viewer.window(lon, lat, height)
    viewer.page.mouse.move(x - 30, y)
    viewer.page.mouse.move(x, y)
    viewer.page.wait_for_selector("#foot b")
    truth = httpx.get(f"{sample_city.url}/viewer/place?lon={lon}&lat={lat}&height={height}").json()
    for _ in range(50):  # the readout follows the mouse after a pause
        east, north, up = (float(t.removesuffix(" m")) for t in viewer.page.locator("#foot b").all_inner_texts())
        if abs(east - truth["x"]) < 2 and abs(north - truth["y"]) < 2:
            break
        time.sleep(0.1)
    assert (east, north) == (pytest.approx(truth["x"], abs=2), pytest.approx(truth["y"], abs=2))
    assert up == pytest.approx(truth["height"], abs=1)


def test_languages_and_colour_by_use(viewer: Viewer) -> None:
    viewer.show("terrain", "building")
    assert "建筑" in viewer.page.locator("#left").inner_text()
    viewer.page.click("#language")
    assert "Buildings" in viewer.page.locator("#left").inner_text()
    viewer.page.click("#color-by-use")
    assert "Residential" in viewer.page.locator("#left").inner_text()
    viewer.page.click("#color-by-use")
    viewer.page.click("#language")


def test_terrain_is_the_dem_plus_the_anomaly(viewer: Viewer, sample_city: Served) -> None:
    from pyproj import Transformer

    from sample_data.terrain import EAST, NORTH, Relief

    rng = np.random.default_rng(5)
    x, y = rng.uniform(-1000, 1000, 50), rng.uniform(-1000, 1000, 50)
    lon, lat = Transformer.from_crs(4547, 4490, always_xy=True).transform(EAST + x, NORTH + y)
    sampled = viewer.page.evaluate(
        """async (places) => {
          const { Cesium, widget } = window.cim;
          const points = places.map(([lon, lat]) => Cesium.Cartographic.fromDegrees(lon, lat));
          const found = await Cesium.sampleTerrainMostDetailed(widget.scene.terrainProvider, points);
          return found.map((p) => p.height);
        }""",
        np.c_[lon, lat].tolist(),
    )
    difference = np.array(sampled) - (Relief(1).height(x, y) + ANOMALY_M)
    assert np.abs(difference).max() < 0.5
    assert np.abs(difference).mean() < 0.08


def test_no_sample_building_hangs_or_sinks(viewer: Viewer, sample_city: Served) -> None:
    """The foot of a building against the lowest terrain that Cesium has under its outline."""
    sql = f"""SELECT v.id, ST_AsGeoJSON(ST_Transform(ST_Segmentize(ST_Force2D(v.geom), 4), 4326)), b.z_min + {ANOMALY_M}
              FROM twin.building v JOIN cim.body b ON b.hash = v.bodies[1]
              WHERE upper_inf(recorded) AND id LIKE 'YQ%' AND id NOT LIKE '%-1' ORDER BY md5(id) LIMIT 60"""
    with sample_city.store.connect("server") as connection:
        chosen = connection.execute(sql.encode()).fetchall()
    outlines = [json.loads(text)["coordinates"][0][0] for _, text, _ in chosen]
    sampled = viewer.page.evaluate(
        """async (outlines) => {
          const { Cesium, widget } = window.cim;
          const points = outlines.flat().map(([lon, lat]) => Cesium.Cartographic.fromDegrees(lon, lat));
          const found = await Cesium.sampleTerrainMostDetailed(widget.scene.terrainProvider, points);
          return found.map((p) => p.height);
        }""",
        outlines,
    )
    heights = iter(sampled)
    for (identifier, _, foot), outline in zip(chosen, outlines, strict=True):
        lowest = min(next(heights) for _ in outline)
        assert abs(foot - lowest) < 0.5, identifier


def test_the_page_of_a_past_day_shows_that_day(sample_city: Served, chromium: Any) -> None:
    _, lon, lat, top = tops(sample_city, "v.name = '工人文化宫'")[0]
    with opened(chromium, f"{sample_city.url}/?lean=1&lang=zh&at=2020-01-01") as page:
        counts = page.page.evaluate("() => window.cim.catalog.layers.map((l) => l.count)")
        assert set(counts) == {0}
        page.look(lon, lat, top, distance=160, pitch_deg=-75)
        assert page.pick(*page.window(lon, lat, top)) is None
        assert page.problems == []


def test_nothing_comes_from_outside(viewer: Viewer, sample_city: Served) -> None:
    outside = [u for u in viewer.requests if not u.startswith((sample_city.url, "blob:", "data:"))]
    assert outside == []


@pytest.fixture
def proxied(sample_city: Served) -> Iterator[str]:
    """A reverse proxy that serves the city under /city."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            headers |= {"X-Forwarded-Prefix": "/city", "X-Forwarded-Host": self.headers["Host"]}
            if not self.path.startswith("/city/"):
                self.send_error(404)
                return
            answer = httpx.get(sample_city.url + self.path.removeprefix("/city"), headers=headers, timeout=30)
            self.send_response(answer.status_code)
            for name in ("content-type", "cache-control", "etag"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("Content-Length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/city"
    server.shutdown()
    server.server_close()


def test_the_page_works_under_a_prefix(proxied: str, sample_city: Served, chromium: Any) -> None:
    identifier, lon, lat, top = tops(sample_city, "v.name = '工人文化宫'")[0]
    with opened(chromium, f"{proxied}/?lean=1&lang=zh#c={lon},{lat - 0.003},1100,0,-45&l=terrain,building") as page:
        page.look(lon, lat, top, distance=160, pitch_deg=-75)
        assert page.pick(*page.window(lon, lat, top)) == {"layer": "building", "id": identifier}
        assert page.problems == []
        assert json.dumps([u for u in page.requests if "/city/" not in u and u.startswith("http")]) == "[]"
