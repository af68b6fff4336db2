import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "../api";
import type { Layer } from "../generated";
import { state } from "../state";
import { cloud } from "./cloud";
import { Declutter } from "./declutter";
import { Drape } from "./draped";
import { features } from "./features";
import { ground } from "./ground";
import type { Canvas, Draw, LayerRenderer } from "./renderer";
import { resultMesh } from "./result-mesh";
import { sets } from "./sets";

/** What draws a layer, by what the server says of its kind (`cim/store/kinds.py`). A new way of drawing is a row here. */
const DRAWINGS: Record<NonNullable<Layer["drawing"]>, Draw> = { features, ground, cloud, sets };

export type DrawnLayers = {
  renderers: LayerRenderer[];
  drape: Drape;
  /** Shows what layers hold now, or at the moment that is shown, by whatever draws them; all, unless some are named. */
  follow(ids?: Iterable<string>): Promise<void>;
};

/** Makes what draws each layer, and lets it show what there is. */
export async function drawLayers(catalog: Catalog, widget: CesiumWidget): Promise<DrawnLayers> {
  const canvas: Canvas = { catalog, widget, drape: new Drape(catalog, widget), declutter: new Declutter(widget) };
  const byLayer = new Map(catalog.layers.map((layer) => [layer.id, layer.drawing ? DRAWINGS[layer.drawing](layer, canvas) : []]));
  resultMesh(widget);
  state.visible.subscribe((visible) => {
    for (const [id, renderers] of byLayer) for (const renderer of renderers) renderer.show(visible.has(id));
    widget.scene.requestRender();
  });
  const follow = async (ids: Iterable<string> = byLayer.keys()) => {
    const asked = [...ids].flatMap((id) => byLayer.get(id) ?? []);
    await Promise.allSettled(asked.map((renderer) => renderer.follow()));
  };
  await follow();
  return { renderers: [...byLayer.values()].flat(), drape: canvas.drape, follow };
}
