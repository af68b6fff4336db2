import { Cartesian3, Math as CesiumMath, type CesiumWidget } from "@cesium/engine";
import type { Catalog, Language } from "./api";
import { state } from "./state";

/**
 * The scene in the address after '#': camera (c), layers (l), moment (at), selection (s), colours (u), language (lang).
 * Opening the address brings the scene back; the address follows what the planner does.
 */
const WRITE_AFTER_MS = 250;

function written(widget: CesiumWidget): string {
  const { positionCartographic: p, heading, pitch } = widget.camera;
  const degrees = (r: number, digits: number) => CesiumMath.toDegrees(r).toFixed(digits);
  const parts = new URLSearchParams({
    c: [degrees(p.longitude, 6), degrees(p.latitude, 6), p.height.toFixed(1), degrees(heading, 1), degrees(pitch, 1)].join(","),
    l: [...state.visible.value].sort().join(","),
    lang: state.language.value,
    at: state.at.value ?? "", // empty: now, whatever stands before '#'
  });
  if (state.selected.value) parts.set("s", `${state.selected.value.layer}/${state.selected.value.id}`);
  if (state.colorByUse.value) parts.set("u", "1");
  return parts.toString();
}

export function sceneAddress(widget: CesiumWidget): string {
  return `${location.href.split("#")[0]}#${written(widget)}`;
}

/** What the address asks for, before the scene is made. */
export function readAddress(): URLSearchParams {
  return new URLSearchParams(location.hash.slice(1));
}

/** Sets what doesn't need the scene. */
export function restoreState(asked: URLSearchParams, catalog: Catalog): void {
  const known = new Set(catalog.layers.map((l) => l.id));
  if (asked.has("l")) state.visible.value = new Set((asked.get("l") ?? "").split(",").filter((id) => known.has(id)));
  state.colorByUse.value = asked.get("u") === "1";
  const language = asked.get("lang");
  if (language === "zh" || language === "en") state.language.value = language satisfies Language;
}

/** Moves the camera and selects, then keeps the address up to date. */
export function followScene(asked: URLSearchParams, widget: CesiumWidget): void {
  move(asked, widget);
  const selected = asked.get("s")?.match(/^([^/]+)\/(.+)$/);
  if (selected) state.selected.value = { layer: selected[1]!, id: selected[2]! };
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
  window.addEventListener("hashchange", () => move(readAddress(), widget));
}

function move(asked: URLSearchParams, widget: CesiumWidget): void {
  const [lon, lat, height, heading, pitch] = (asked.get("c") ?? "").split(",").map(Number);
  if (![lon, lat, height, heading, pitch].every(Number.isFinite)) return;
  widget.camera.setView({
    destination: Cartesian3.fromDegrees(lon!, lat!, height!),
    orientation: { heading: CesiumMath.toRadians(heading!), pitch: CesiumMath.toRadians(pitch!), roll: 0 },
  });
  widget.scene.requestRender();
}
