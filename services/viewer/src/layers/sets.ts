import { Cesium3DTileset, type CesiumWidget } from "@cesium/engine";
import { lean, type Layer } from "../api";
import { datedTileset } from "../scene";
import type { LayerRenderer } from "./renderer";

const load = (layer: Layer) => Cesium3DTileset.fromUrl(datedTileset(layer.id), { maximumScreenSpaceError: lean ? 32 : 16 });

/** Draws a layer of tiles that others made, in their own colours. */
export async function sets(layer: Layer, widget: CesiumWidget): Promise<LayerRenderer> {
  const { primitives } = widget.scene;
  let shown = true;
  let tileset = primitives.add(await load(layer)) as Cesium3DTileset;
  return {
    show: (visible) => {
      shown = visible;
      tileset.show = visible && layer.tiled;
    },
    refresh: async () => {
      primitives.remove(tileset);
      tileset = primitives.add(await load(layer)) as Cesium3DTileset;
      tileset.show = shown && layer.tiled;
    },
  };
}
