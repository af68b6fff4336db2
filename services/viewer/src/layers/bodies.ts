import {
  Cartesian2,
  Cartesian3,
  Cesium3DTileFeature,
  Cesium3DTileset,
  Cesium3DTileStyle,
  type CesiumWidget,
  Color,
  type CustomShader,
  ShadowMode,
} from "@cesium/engine";
import { lean, UNLISTED, type Catalog } from "../api";
import type { Layer } from "../generated";
import { datedTileset } from "../scene";
import { state } from "../state";
import { outlineOf } from "./outline";
import type { Canvas, LayerRenderer } from "./renderer";
import { CONCRETE, FACADE, FOLIAGE, UNPICKED } from "./shaders";
import { tilesOf } from "./tiles";

/** Even, slightly warm light from all around: shaded walls stay readable. */
const AMBIENT = [new Cartesian3(0.82, 0.8, 0.77), ...Array.from({ length: 8 }, () => new Cartesian3(0, 0, 0))];

function styleByUse(layer: Layer, catalog: Catalog): Cesium3DTileStyle {
  const field = layer.fields.find((f) => f.name === layer.style.color_by);
  const codes = field?.codes ? (catalog.codeLists[field.codes] ?? []) : [];
  const conditions = codes.map((c) => [`\${${field?.name}} === '${c.value}'`, `color('${c.color ?? "#9a9a94"}')`]);
  return new Cesium3DTileStyle({ color: { conditions: [...conditions, ["true", `color('${UNLISTED}')`]] } });
}

/** What a layer's bodies are made of. */
function material(layer: Layer): CustomShader {
  if (layer.symbol) return FOLIAGE;
  return layer.role === "buildings" ? FACADE : CONCRETE;
}

async function load(layer: Layer): Promise<Cesium3DTileset> {
  const tileset = await Cesium3DTileset.fromUrl(datedTileset(layer.id), {
    maximumScreenSpaceError: lean ? 1.5 : 1, // errors are metres of roof: at 4 no gable showed from any camera
    cacheBytes: 512 * 1024 * 1024,
    shadows: ShadowMode.CAST_ONLY, // on façades a shadow map of this size draws stripes
  });
  tileset.imageBasedLighting.imageBasedLightingFactor = new Cartesian2(0.75, 0);
  tileset.imageBasedLighting.sphericalHarmonicCoefficients = AMBIENT;
  return tileset;
}

function dress(tileset: Cesium3DTileset, layer: Layer, byUse: Cesium3DTileStyle): void {
  const on = state.colorByUse.value && layer.style.color_by !== null;
  const opacity = state.opacity.value[layer.id] ?? 1;
  const plain = new Cesium3DTileStyle({ color: `color('${layer.symbol ? "#ffffff" : UNPICKED}', ${opacity})` });
  tileset.customShader = on ? undefined : material(layer);
  tileset.style = on ? byUse : layer.symbol && opacity === 1 ? undefined : plain;
  tileset.colorBlendMode = on ? 2 : 0; // mix the use's colour in; else only lighten what is picked
  tileset.colorBlendAmount = 0.85;
}

/** A layer's bodies; of a layer without any there is nothing on the scene. */
export function bodies(layer: Layer, { catalog, widget }: Canvas): LayerRenderer {
  const byUse = styleByUse(layer, catalog);
  const dressed = async () => {
    const tileset = await load(layer);
    dress(tileset, layer, byUse);
    return tileset;
  };
  const tiles = tilesOf(layer, widget, dressed, forget);
  const redress = () => {
    const tileset = tiles.current();
    if (tileset) dress(tileset, layer, byUse);
    widget.scene.requestRender();
  };
  state.colorByUse.subscribe(redress);
  state.opacity.subscribe(redress);
  if (!layer.symbol) highlight(layer.id, widget);
  return {
    show: (visible) => tiles.show(visible),
    follow: () => tiles.follow(),
    pick: (picked) => {
      if (!(picked instanceof Cesium3DTileFeature) || picked.tileset !== tiles.current()) return null;
      return { layer: layer.id, id: String(picked.getProperty("id")) };
    },
  };
}

const BASE = Color.fromCssColorString(UNPICKED);
const PICKED = Color.fromCssColorString("#fffdf2");

/** The picked body is drawn lighter and outlined, in whichever level of detail it was picked. */
function highlight(layer: string, widget: CesiumWidget): void {
  const outline = outlineOf(widget);
  state.selected.subscribe((selected) => {
    const picked = lastPicked;
    const mine = selected?.layer === layer && picked && String(picked.getProperty("id")) === selected.id;
    if (lit && lit.layer === layer) {
      if (!state.colorByUse.value) lit.feature.color = BASE;
      lit = null;
      outline.show(null);
    }
    if (mine) {
      lit = { layer, feature: picked };
      if (!state.colorByUse.value) picked.color = PICKED;
      outline.show(picked);
    }
    widget.scene.requestRender();
  });
}

let lastPicked: Cesium3DTileFeature | null = null;
let lit: { layer: string; feature: Cesium3DTileFeature } | null = null;
/** What was picked of tiles that are gone can't be lit again, nor put back. */
function forget(gone: Cesium3DTileset): void {
  if (lastPicked?.tileset === gone) lastPicked = null;
  if (lit?.feature.tileset === gone) lit = null;
}
export function rememberPicked(picked: unknown): void {
  lastPicked = picked instanceof Cesium3DTileFeature ? picked : null;
}
