"""Bodies that an analysis gave are drawn where they stand on the globe, the right way round, and go with the result."""

from typing import Any

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely

from cim.analysis.engine.inputs import LayerBodies
from cim.geometry.body_batch import from_sizes
from tests.conftest import Served
from tests.e2e.page import Viewer, opened
from tests.example.results import computed_of, finished
from tests.factory import BOX_FACES, EAST, NORTH, box

pytestmark = pytest.mark.client
LENGTH_M, WIDTH_M, HEIGHT_M, BASE_M = 60.0, 10.0, 9.0, 900.0  # in the air, where nothing else is


def bar(served: Served) -> str:
    """Return the job of a bar that lies east and west."""
    corners = np.array(box(EAST, NORTH, BASE_M, LENGTH_M, WIDTH_M, HEIGHT_M))
    faces = np.concatenate([ring for face in BOX_FACES for ring in face])
    solids = LayerBodies(np.array(["bar"], object), from_sizes(corners, faces, [4] * 6, [1] * 6, [6], [0] * 6))
    plan = shapely.box(EAST, NORTH, EAST + LENGTH_M, NORTH + WIDTH_M)
    rows = gpd.GeoDataFrame({"id": ["bar"]}, geometry=[plan], crs=served.store.city.srid)
    return finished(served.store, computed_of(rows, bodies=solids))


def test_a_body_of_a_result_stands_where_it_is(sample_city: Served, chromium: Any) -> None:
    city, job = sample_city.store.city, bar(sample_city)
    to_degrees = pyproj.Transformer.from_crs(city.srid, 4326, always_xy=True)

    def place(x: float, y: float) -> tuple[float, float, float]:
        """Return a place on the level of the bar's top, metres from its corner."""
        lon, lat = to_degrees.transform(EAST + x, NORTH + y)
        return lon, lat, BASE_M + HEIGHT_M + city.height_anomaly_m

    with opened(chromium, sample_city.url) as viewer:
        viewer.show("terrain")
        viewer.look(*place(LENGTH_M / 2, WIDTH_M / 2), distance=150, pitch_deg=-80)
        on = [place(1, 5), place(LENGTH_M / 2, 1), place(LENGTH_M - 1, 9)]
        off = [place(-3, 5), place(LENGTH_M + 3, 5), place(LENGTH_M / 2, 14), place(LENGTH_M / 2, -8)]
        assert not any(red(viewer, on + off))
        viewer.page.evaluate("""(mesh) => { window.cim.state.result.value = { shapes: [], legend: [], mesh } }""", job)
        viewer.page.wait_for_function(
            """() => {
              const { primitives } = window.cim.widget.scene;
              window.cim.widget.scene.requestRender();
              for (let i = 0; i < primitives.length; i++) {
                const one = primitives.get(i);
                if (one instanceof window.cim.Cesium.Model && one.ready) return true;
              }
              return false;
            }"""
        )
        viewer.settle()
        assert red(viewer, on + off) == [True] * len(on) + [False] * len(off)
        viewer.page.evaluate("() => { window.cim.state.result.value = null }")
        viewer.settle()
        assert not any(red(viewer, on + off))
        assert viewer.problems == []


def red(viewer: Viewer, places: list[tuple[float, float, float]]) -> list[bool]:
    """Return which places on the screen have the colour of a result without a legend."""
    pixels = viewer.pixels()
    seen = []
    for at in places:
        x, y = viewer.window(*at)
        r, g, b = pixels[round(y), round(x)]
        seen.append(bool(r > 1.5 * g and r > 1.5 * b))
    return seen
