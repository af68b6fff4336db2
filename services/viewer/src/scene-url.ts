import { Cartesian3, Math as CesiumMath, type CesiumWidget } from "@cesium/engine";
import type { Catalog } from "./api";
import { readScene, writeScene, type Scene, type View } from "./scene-address";
import { state } from "./state";
import { analyses } from "./tools/analyses";

/** Opening the address brings the scene back; the address follows what the planner does. */
const WRITE_AFTER_MS = 250;

function written(widget: CesiumWidget): string {
  const { positionCartographic: p, heading, pitch } = widget.camera;
  const degrees = (radians: number) => CesiumMath.toDegrees(radians);
  return writeScene({
    view: {
      lon: degrees(p.longitude),
      lat: degrees(p.latitude),
      height_m: p.height,
      heading_deg: degrees(heading),
      pitch_deg: degrees(pitch),
    },
    layers: [...state.visible.value],
    language: state.language.value,
    at: state.at.value,
    selected: state.selected.value,
    colorByUse: state.colorByUse.value,
    job: state.job.value,
  });
}

export function sceneAddress(widget: CesiumWidget): string {
  return `${location.href.split("#")[0]}#${written(widget)}`;
}

/** What the address asks for, before the scene is made. */
export const readAddress = (): Scene => readScene(location.hash);

/** Sets what doesn't need the scene. */
export function restoreState(asked: Scene, catalog: Catalog): void {
  const ids = new Set(catalog.layers.map((l) => l.id));
  if (asked.layers) state.visible.value = new Set(asked.layers.filter((id) => ids.has(id)));
  state.colorByUse.value = asked.colorByUse ?? false;
  if (asked.language) state.language.value = asked.language;
}

/** Moves the camera and selects, then keeps the address up to date. */
export function followScene(asked: Scene, widget: CesiumWidget): void {
  move(asked.view, widget);
  if (asked.selected) state.selected.value = asked.selected;
  if (asked.job) [state.tool.value, state.job.value] = [analyses.id, asked.job];
  let timer = 0;
  const write = () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => history.replaceState(null, "", `#${written(widget)}`), WRITE_AFTER_MS);
  };
  widget.camera.moveEnd.addEventListener(write);
  state.visible.subscribe(write);
  state.at.subscribe(write);
  state.selected.subscribe(write);
  state.colorByUse.subscribe(write);
  state.language.subscribe(write);
  state.job.subscribe(write);
  window.addEventListener("hashchange", () => move(readAddress().view, widget));
}

function move(view: View | undefined, widget: CesiumWidget): void {
  if (!view) return;
  widget.camera.setView({
    destination: Cartesian3.fromDegrees(view.lon, view.lat, view.height_m),
    orientation: { heading: CesiumMath.toRadians(view.heading_deg), pitch: CesiumMath.toRadians(view.pitch_deg), roll: 0 },
  });
  widget.scene.requestRender();
}
