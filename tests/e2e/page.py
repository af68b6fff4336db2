"""Driving the viewer in a real Chromium: look at a place, wait until it is drawn, pick, read pixels."""

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    *("--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
    *("--ignore-gpu-blocklist", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-dev-shm-usage"),
]
SHARPNESS = 0.5  # of the scene: a software GPU takes its time by the pixel, and by the tile
SETTLED = """() => {
  const { scene } = window.cim.widget;
  scene.requestRender();
  const tilesets = [];
  for (let i = 0; i < scene.primitives.length; i++) {
    const loaded = scene.primitives.get(i).tilesLoaded;
    if (loaded !== undefined && scene.primitives.get(i).show) tilesets.push(loaded);
  }
  // before its first frame the globe has nothing to load, and says so
  const drawn = scene.globe._surface._tilesToRender.length > 0;
  return drawn && scene.globe.tilesLoaded && tilesets.every(Boolean);
}"""


@dataclass
class Viewer:
    """A page of the viewer."""

    page: Any
    problems: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def look(self, lon: float, lat: float, height: float, *, distance: float, pitch_deg: float = -60.0) -> None:
        """Look at a place (degrees, ellipsoidal metres) from a distance, northward, and wait until it is drawn."""
        self.page.evaluate(
            """([lon, lat, height, distance, pitch]) => {
              const { Cesium, widget } = window.cim;
              const target = Cesium.Cartesian3.fromDegrees(lon, lat, height);
              widget.camera.lookAt(target, new Cesium.HeadingPitchRange(0, Cesium.Math.toRadians(pitch), distance));
              widget.camera.lookAtTransform(Cesium.Matrix4.IDENTITY);
            }""",
            [lon, lat, height, distance, pitch_deg],
        )
        self.settle()

    def settle(self, calm: int = 4) -> None:
        """Wait until terrain, images and tiles are loaded for a few frames on end."""
        quiet = 0
        for _ in range(3600):  # a busy machine without a GPU takes minutes
            quiet = quiet + 1 if self.page.evaluate(SETTLED) else 0
            if quiet >= calm:
                return
            time.sleep(0.1)
        raise AssertionError("the scene doesn't come to rest")

    def window(self, lon: float, lat: float, height: float) -> tuple[float, float]:
        """Return where a place is on the screen."""
        at = self.page.evaluate(
            """([lon, lat, height]) => {
              const { Cesium, widget } = window.cim;
              const p = Cesium.Cartesian3.fromDegrees(lon, lat, height);
              const w = Cesium.SceneTransforms.worldToWindowCoordinates(widget.scene, p);
              return w ? [w.x, w.y] : null;
            }""",
            [lon, lat, height],
        )
        assert at, "the place isn't on the screen"
        return at[0], at[1]

    def pick(self, x: float, y: float) -> dict[str, str] | None:
        """Return the object at a place on the screen."""
        found: dict[str, str] | None = self.page.evaluate("([x, y]) => window.cim.pickAt(x, y)", [x, y])
        return found

    def show(self, *layers: str) -> None:
        """Show just these layers."""
        self.page.evaluate("(ids) => { window.cim.state.visible.value = new Set(ids) }", list(layers))
        self.settle()

    def pixels(self) -> NDArray[np.int64]:
        """Return the scene's pixels, (rows, columns, 3)."""
        from PIL import Image

        self.page.evaluate("() => window.cim.widget.scene.render()")
        return np.asarray(
            Image.open(io.BytesIO(self.page.locator("#scene canvas").screenshot())).convert("RGB"), np.int64
        )


@contextmanager
def browser() -> Iterator[Any]:
    """Run Chromium."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium isn't installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()


@contextmanager
def opened(chromium: Any, url: str) -> Iterator[Viewer]:
    """Open the viewer and close it again."""
    page = chromium.new_page(viewport={"width": 960, "height": 600})
    viewer = Viewer(page)
    page.on("console", lambda m: viewer.problems.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: viewer.problems.append(str(e)))
    page.on("request", lambda r: viewer.requests.append(r.url))
    page.goto(url)
    for _ in range(240):
        if page.evaluate("() => Boolean(window.cim)"):
            break
        time.sleep(0.25)
    else:
        raise AssertionError(f"the page doesn't start: {viewer.problems}")
    page.evaluate(
        """(share) => {
          const { widget } = window.cim;
          widget.resolutionScale = share;
          widget.scene.globe.maximumScreenSpaceError /= share;  // Cesium counts in pixels of the page
        }""",
        SHARPNESS,
    )
    yield viewer
    page.close()
