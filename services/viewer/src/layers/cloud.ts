import { Cesium3DTileset, Cesium3DTileStyle, PointCloudShading } from "@cesium/engine";
import { lean } from "../api";
import type { Layer } from "../generated";
import { datedTileset } from "../scene";
import { state } from "../state";
import type { Draw } from "./renderer";
import { tilesOf } from "./tiles";

/** Classes of ASPRS LAS 1.4, table 17, and their colours. */
const CLASSES: [number, string][] = [
  [2, "#b08a55"], // ground
  [3, "#a8c686"], // low vegetation
  [4, "#7fae62"],
  [5, "#4f8a3d"], // high vegetation
  [6, "#c8553d"], // building
  [7, "#9a9a94"], // noise
  [9, "#5b9bd5"], // water
  [11, "#6f7a82"], // road surface
  [17, "#8d7b9a"], // bridge deck
];
const BY_CLASS = new Cesium3DTileStyle({
  color: { conditions: [...CLASSES.map(([code, colour]) => [`\${classification} === ${code}`, `color('${colour}')`]), ["true", "color('#d8d2c0')"]] },
});

async function load(layer: Layer): Promise<Cesium3DTileset> {
  return Cesium3DTileset.fromUrl(datedTileset(layer.id), {
    maximumScreenSpaceError: lean ? 16 : 4, // errors are distances between points
    pointCloudShading: new PointCloudShading({ attenuation: true, maximumAttenuation: 6, eyeDomeLighting: !lean }),
  });
}

/** Draws a layer of point clouds: in their colours, or by class. */
export const cloud: Draw = (layer, { widget }) => {
  const dress = (tileset: Cesium3DTileset) => {
    tileset.style = state.colorByUse.value ? BY_CLASS : undefined;
    return tileset;
  };
  const tiles = tilesOf(layer, widget, async () => dress(await load(layer)));
  state.colorByUse.subscribe(() => {
    const tileset = tiles.current();
    if (tileset) dress(tileset);
    widget.scene.requestRender();
  });
  return [tiles];
};
