import { Cartographic, Math as CesiumMath, ScreenSpaceEventHandler, ScreenSpaceEventType, type CesiumWidget } from "@cesium/engine";
import { readPlace, type Catalog } from "../api";
import { element } from "../dom";
import { text } from "../i18n";
import { state } from "../state";

const PAUSE_MS = 70;

/** The place under the mouse in the city's own plane coordinates and height, never the ellipsoid's. */
export function readout(slot: HTMLElement, catalog: Catalog, widget: CesiumWidget): void {
  slot.classList.add("card");
  let asked = 0;
  let timer = 0;
  const show = async (event: ScreenSpaceEventHandler.MotionEvent) => {
    const ray = widget.camera.getPickRay(event.endPosition);
    const ground = ray && widget.scene.globe.pick(ray, widget.scene);
    const body = widget.scene.pickPositionSupported ? widget.scene.pickPosition(event.endPosition) : undefined;
    const place = body ?? ground;
    if (!place) return;
    const { longitude, latitude, height } = Cartographic.fromCartesian(place);
    const mine = ++asked;
    const found = await readPlace(CesiumMath.toDegrees(longitude), CesiumMath.toDegrees(latitude), height).catch(() => null);
    if (!found || mine !== asked) return;
    const part = (name: string, value: string) => [`${name} `, element("b", {}, value), "   "];
    slot.replaceChildren(
      ...part(text("east"), found.x.toFixed(2)),
      ...part(text("north"), found.y.toFixed(2)),
      ...part(text("height"), `${(found.height ?? 0).toFixed(2)} m`),
      `EPSG:${found.srid} · ${catalog.city.verticalDatum}`,
    );
  };
  new ScreenSpaceEventHandler(widget.canvas).setInputAction((event: ScreenSpaceEventHandler.MotionEvent) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => void show({ startPosition: event.startPosition.clone(), endPosition: event.endPosition.clone() }), PAUSE_MS);
  }, ScreenSpaceEventType.MOUSE_MOVE);
  state.language.subscribe(() => slot.replaceChildren(text("move")));
}
