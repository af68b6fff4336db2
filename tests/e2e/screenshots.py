"""The pictures of the docs, taken from a running server: `python -m tests.e2e.screenshots URL FOLDER [NAME ...]`.

The page as a planner gets it, not the lean mode; on a software GPU a picture takes some minutes. The one of the
district scale is taken of a server that has that sample.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.page import browser

SIZE = {"width": 1600, "height": 900}
PATIENCE_S = 240.0
RESTING = """() => {
  const { scene } = window.cim.widget;
  scene.requestRender();
  if (!scene.globe.tilesLoaded || scene.tweens.length) return false;
  for (let i = 0; i < scene.primitives.length; i++) {
    const p = scene.primitives.get(i);
    if (p.tilesLoaded === false && p.show) return false;
  }
  return true;
}"""
# while it loads the scene is drawn small, without light and air, with the detail that it needs at its full size: the
# ground first, then what stands on it
DRAFT = """() => {
  const { scene } = window.cim.widget;
  window.hidden = [];
  for (let i = 0; i < scene.primitives.length; i++) {
    const p = scene.primitives.get(i);
    if (p.show) { window.hidden.push(p); p.show = false; }
  }
  scene.shadowMap.enabled = scene.globe.showGroundAtmosphere = scene.globe.enableLighting = false;
  scene.skyAtmosphere.show = scene.fog.renderable = false;
  scene.msaaSamples = 1;
  window.cim.widget.resolutionScale = SHARE;
  scene.globe.maximumScreenSpaceError *= SHARE;
  for (let i = 0; i < scene.primitives.length; i++)
    if (scene.primitives.get(i).maximumScreenSpaceError) scene.primitives.get(i).maximumScreenSpaceError *= SHARE;
}""".replace("SHARE", "0.25")
STANDING = "() => { for (const p of window.hidden) p.show = true; }"
FINAL = """() => {
  const { scene } = window.cim.widget;
  scene.shadowMap.enabled = scene.globe.showGroundAtmosphere = scene.globe.enableLighting = true;
  scene.skyAtmosphere.show = scene.fog.renderable = true;
  scene.msaaSamples = 4;
  window.cim.widget.resolutionScale = 1;
  scene.globe.maximumScreenSpaceError /= SHARE;
  for (let i = 0; i < scene.primitives.length; i++)
    if (scene.primitives.get(i).maximumScreenSpaceError) scene.primitives.get(i).maximumScreenSpaceError /= SHARE;
  for (let i = 0; i < 4; i++) scene.render();
}""".replace("SHARE", "0.25")
LOOK = """([lon, lat, up, heading, pitch, distance]) => {
  const { Cesium, widget } = window.cim;
  const radians = Cesium.Math.toRadians;
  const target = Cesium.Cartesian3.fromDegrees(lon, lat, up);
  widget.camera.lookAt(target, new Cesium.HeadingPitchRange(radians(heading), radians(pitch), distance));
  widget.camera.lookAtTransform(Cesium.Matrix4.IDENTITY);
}"""


@dataclass(frozen=True)
class Shot:
    """A picture: its language, where the camera looks, and what is done before."""

    language: str = "zh"
    look: tuple[float, float, float, float, float, float] | None = None  # lon, lat, up, heading, pitch, distance
    act: Callable[[Any], None] = lambda _: None


def _analysis(page: Any) -> None:
    page.click("#analyses")
    page.wait_for_selector("#analysis form")
    page.select_option("#analysis-choice", "cell_statistics")
    page.wait_for_selector("#analysis form")
    page.click("#analysis .primary")
    page.wait_for_selector("#analysis-figures", timeout=60_000)


def _picked(page: Any) -> None:
    """Click the building next to the middle, past the trees before it."""
    rings = [(x, y) for r in range(9) for x in range(-r, r + 1) for y in range(-r, r + 1) if max(abs(x), abs(y)) == r]
    places = [(SIZE["width"] / 2 + 45 * x, SIZE["height"] / 2 + 45 * y) for x, y in rings]
    picks = ((place, page.evaluate("([x, y]) => window.cim.pickAt(x, y)", place)) for place in places)
    x, y = next(place for place, found in picks if found and found["layer"] == "building")
    page.mouse.click(x, y)
    page.wait_for_selector("#right dl", timeout=60_000)


SHOTS: dict[str, Shot] = {
    "overview": Shot(),
    "overview-en": Shot("en"),
    "quarter": Shot(look=(113.5815, 37.8603, 668, 20, -28, 620)),
    "street": Shot(look=(113.5822, 37.8606, 672, 62, -4, 190)),
    "river": Shot(look=(113.5868, 37.8604, 664, 285, -12, 420)),
    "picked": Shot(look=(113.5812, 37.8615, 690, 10, -30, 300), act=_picked),
    "district": Shot(look=(113.580, 37.8605, 660, 78, -12, 4200)),
    "analysis": Shot(look=(113.580, 37.860, 660, 0, -50, 1500), act=_analysis),
}


def take(url: str, folder: Path, names: list[str]) -> None:
    """Take some of the pictures, or all."""
    folder.mkdir(parents=True, exist_ok=True)
    with browser() as chromium:
        for name in names or [n for n in SHOTS if n != "district"]:
            shot = SHOTS[name]
            page = chromium.new_page(viewport=SIZE)
            page.set_default_timeout(PATIENCE_S * 1000)
            page.goto(f"{url}/?lang={shot.language}")
            page.wait_for_function("() => Boolean(window.cim)")
            page.evaluate(DRAFT)
            if shot.look:
                page.evaluate(LOOK, list(shot.look))
            _rest(page)
            page.evaluate(STANDING)
            _rest(page)
            shot.act(page)
            _rest(page)
            page.evaluate(FINAL)
            page.screenshot(path=folder / f"{name}.jpg", type="jpeg", quality=80, timeout=PATIENCE_S * 1000)
            page.close()
            print(folder / f"{name}.jpg", flush=True)  # noqa: T201 - a command


def _rest(page: Any) -> None:
    until, calm = time.monotonic() + PATIENCE_S, 0
    while calm < 4 and time.monotonic() < until:
        calm = calm + 1 if page.evaluate(RESTING) else 0
        time.sleep(0.4)


if __name__ == "__main__":
    take(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
