import { type Cartesian2, Cartographic, Math as CesiumMath, ScreenSpaceEventHandler, ScreenSpaceEventType, type CesiumWidget } from "@cesium/engine";
import { rememberPicked } from "./layers/bodies";
import type { DrawnLayers } from "./layers";
import { state, type Selected } from "./state";

/** The object at a place on the screen: a body or a sign first, else what is draped on the ground there. */
export async function pickAt(widget: CesiumWidget, layers: DrawnLayers, where: Cartesian2): Promise<Selected> {
  const picked: unknown = widget.scene.pick(where);
  rememberPicked(picked);
  for (const renderer of layers.renderers) {
    const found = renderer.pick?.(picked);
    if (found) return found;
  }
  const ground = groundAt(widget, where);
  return ground && layers.drape.pick(ground.longitude, ground.latitude, state.visible.value);
}

/** The place on the ground under a place on the screen. */
function groundAt(widget: CesiumWidget, where: Cartesian2): Cartographic | null {
  const ray = widget.camera.getPickRay(where);
  const ground = ray && widget.scene.globe.pick(ray, widget.scene);
  return ground ? Cartographic.fromCartesian(ground) : null;
}

/** The place on the nearest body or on the ground under a place on the screen. */
function surfaceAt(widget: CesiumWidget, where: Cartesian2): Cartographic | null {
  const body = widget.scene.pick(where) && widget.scene.pickPositionSupported ? widget.scene.pickPosition(where) : undefined;
  return body ? Cartographic.fromCartesian(body) : groundAt(widget, where);
}

export function selectOnClick(widget: CesiumWidget, layers: DrawnLayers): void {
  const handler = new ScreenSpaceEventHandler(widget.canvas);
  handler.setInputAction((event: ScreenSpaceEventHandler.PositionedEvent) => {
    const place = state.placing.value;
    if (place) {
      const at = surfaceAt(widget, event.position);
      if (at) place(CesiumMath.toDegrees(at.longitude), CesiumMath.toDegrees(at.latitude), at.height);
      return;
    }
    void pickAt(widget, layers, event.position).then((selected) => (state.selected.value = selected));
  }, ScreenSpaceEventType.LEFT_CLICK);
}
