import { Cartesian2, Cartographic, ScreenSpaceEventHandler, ScreenSpaceEventType, type CesiumWidget } from "@cesium/engine";
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
  const ray = widget.camera.getPickRay(where);
  const ground = ray && widget.scene.globe.pick(ray, widget.scene);
  if (!ground) return null;
  const { longitude, latitude } = Cartographic.fromCartesian(ground);
  return layers.drape.pick(longitude, latitude, state.visible.value);
}

export function selectOnClick(widget: CesiumWidget, layers: DrawnLayers): void {
  const handler = new ScreenSpaceEventHandler(widget.canvas);
  handler.setInputAction(async (event: ScreenSpaceEventHandler.PositionedEvent) => {
    state.selected.value = await pickAt(widget, layers, event.position);
  }, ScreenSpaceEventType.LEFT_CLICK);
}
