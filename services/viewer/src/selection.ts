import { Cartesian2, Cartographic, Math as CesiumMath, ScreenSpaceEventHandler, ScreenSpaceEventType, type CesiumWidget } from "@cesium/engine";
import { rememberPicked } from "./layers/buildings";
import type { DrawnLayers } from "./layers";
import { state, type Selected } from "./state";

/** The object at a place on the screen: a body or a sign first, else what is draped on the ground there. */
export async function pickAt(widget: CesiumWidget, layers: DrawnLayers, where: Cartesian2): Promise<Selected> {
  const picked = widget.scene.pick(where);
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

export function selectOnClick(widget: CesiumWidget, layers: DrawnLayers): void {
  const handler = new ScreenSpaceEventHandler(widget.canvas);
  handler.setInputAction(async (event: ScreenSpaceEventHandler.PositionedEvent) => {
    const place = state.placing.value;
    if (place) {
      const ground = groundAt(widget, event.position);
      if (ground) place(CesiumMath.toDegrees(ground.longitude), CesiumMath.toDegrees(ground.latitude));
      return;
    }
    state.selected.value = await pickAt(widget, layers, event.position);
  }, ScreenSpaceEventType.LEFT_CLICK);
}
