import type { CesiumWidget } from "@cesium/engine";
import type { Catalog, Layer } from "../api";
import { state } from "../state";
import { bodies } from "./bodies";
import { cloud } from "./cloud";
import { Declutter } from "./declutter";
import { Drape } from "./draped";
import { marks } from "./marks";
import type { LayerRenderer } from "./renderer";
import { sets } from "./sets";

export type DrawnLayers = {
  renderers: LayerRenderer[];
  drape: Drape;
  /** Shows what a layer holds now, by whatever draws it. */
  refresh(layer: string): Promise<void>;
};

/** Chooses how each layer is drawn: bodies as 3D tiles, areas and lines draped, points as signs. */
export async function drawLayers(catalog: Catalog, widget: CesiumWidget): Promise<DrawnLayers> {
  const flat = catalog.layers.filter((l) => l.kind === "feature" && !l.bodies && l.geometry !== "Point");
  const drape = new Drape(flat, catalog, widget);
  const declutter = new Declutter(widget);
  const renderers: LayerRenderer[] = [];
  const byLayer = new Map<string, LayerRenderer[]>();
  const follow = (id: string, renderer: LayerRenderer) => {
    renderers.push(renderer);
    byLayer.set(id, [...(byLayer.get(id) ?? []), renderer]);
    state.visible.subscribe((visible) => {
      renderer.show(visible.has(id));
      widget.scene.requestRender();
    });
  };
  /** Begins to draw a layer of files, once there are tiles of it. */
  const drawFiles = async (layer: Layer) => {
    const draw = layer.kind === "points" ? cloud : layer.kind === "tileset" ? sets : undefined;
    if (!draw || !layer.tiled || byLayer.has(layer.id)) return false;
    byLayer.set(layer.id, []);
    follow(layer.id, await draw(layer, widget));
    return true;
  };
  await Promise.all(
    catalog.layers.map(async (layer) => {
      await drawFiles(layer);
      if (layer.kind !== "feature") return;
      if (layer.bodies) follow(layer.id, await bodies(layer, catalog, widget));
      if (layer.symbol) return;
      if (layer.geometry === "Point" || (layer.style.label && !layer.bodies)) follow(layer.id, await marks(layer, widget, declutter));
    }),
  );
  state.visible.subscribe((visible) => {
    const ground = catalog.layers.find((l) => l.kind === "raster");
    if (ground) widget.scene.globe.show = visible.has(ground.id) || !catalog.terrain;
    widget.scene.requestRender();
  });
  const refresh = async (id: string) => {
    drape.refresh(id);
    const layer = catalog.layers.find((l) => l.id === id);
    if (layer && (await drawFiles(layer))) return;
    await Promise.all((byLayer.get(id) ?? []).map(async (r) => r.refresh?.()));
  };
  return { renderers, drape, refresh };
}
