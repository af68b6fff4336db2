import { Cesium3DTileset } from "@cesium/engine";
import { lean } from "../api";
import { datedTileset } from "../scene";
import type { Draw } from "./renderer";
import { tilesOf } from "./tiles";

/** Draws a layer of tiles that others made, in their own colours. */
export const sets: Draw = (layer, { widget }) => {
  const load = () => Cesium3DTileset.fromUrl(datedTileset(layer.id), { maximumScreenSpaceError: lean ? 32 : 16 });
  return [tilesOf(layer, widget, load)];
};
