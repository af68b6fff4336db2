import {
  Cartesian2,
  Cartesian3,
  Cesium3DTileFeature,
  Cesium3DTileset,
  Cesium3DTileStyle,
  CustomShader,
  type CesiumWidget,
  Color,
  LightingModel,
} from "@cesium/engine";
import { lean, type Catalog, type Layer } from "../api";
import { datedTileset } from "../scene";
import { state } from "../state";
import type { LayerRenderer } from "./renderer";

/**
 * Near-white walls with a darker base, storey bands, roofs in tile red or grey: one shader, varied by feature.
 * A roof is told from a wall by the colour of its material, which is the tiler's.
 */
const SHADER = new CustomShader({
  lightingModel: LightingModel.PBR,
  fragmentShaderText: `
    float hash(float n) { return fract(sin(n * 12.9898) * 43758.5453); }
    void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {
      float id = float(fsInput.featureIds.featureId_0);
      float h = fsInput.attributes.height;
      float pick = hash(id + 3.0);
      bool roof = material.diffuse.r > material.diffuse.b * 1.6;
      if (roof) {
        vec3 red = vec3(0.43, 0.19, 0.13);
        vec3 grey = vec3(0.36, 0.37, 0.38);
        material.diffuse = mix(pick < 0.55 ? red : grey, vec3(0.5), 0.10 * hash(id));
      } else {
        vec3 wall = mix(vec3(0.98, 0.95, 0.89), vec3(0.90, 0.91, 0.90), hash(id + 7.0));
        float storey = fract(h / 3.0);
        float band = smoothstep(0.30, 0.34, storey) * (1.0 - smoothstep(0.72, 0.76, storey));
        float distance = length(fsInput.attributes.positionEC);
        float fade = 1.0 - smoothstep(250.0, 1400.0, distance);
        wall *= 1.0 - 0.13 * band * fade;
        wall *= mix(0.72, 1.0, smoothstep(0.0, 2.4, h));
        material.diffuse = wall;
      }
      material.roughness = 0.95;
    }`,
});

/** Even, slightly warm light from all around: shaded walls stay readable. */
const AMBIENT = [new Cartesian3(0.82, 0.8, 0.77), ...Array.from({ length: 8 }, () => new Cartesian3(0, 0, 0))];

function styleByUse(layer: Layer, catalog: Catalog): Cesium3DTileStyle {
  const field = layer.fields.find((f) => f.name === layer.style.color_by);
  const codes = field?.codes ? (catalog.codeLists[field.codes] ?? []) : [];
  const conditions = codes.map((c) => [`\${${field?.name}} === '${c.value}'`, `color('${c.color ?? "#9a9a94"}')`]);
  return new Cesium3DTileStyle({ color: { conditions: [...conditions, ["true", "color('#b9b9b2')"]] } });
}

async function load(layer: Layer): Promise<Cesium3DTileset> {
  const tileset = await Cesium3DTileset.fromUrl(datedTileset(layer.id), {
    maximumScreenSpaceError: lean ? 1.5 : 1, // errors are metres of roof: at 4 no gable showed from any camera
    cacheBytes: 512 * 1024 * 1024,
  });
  tileset.imageBasedLighting.imageBasedLightingFactor = new Cartesian2(0.75, 0);
  tileset.imageBasedLighting.sphericalHarmonicCoefficients = AMBIENT;
  return tileset;
}

function dress(tileset: Cesium3DTileset, byUse: Cesium3DTileStyle): void {
  const on = state.colorByUse.value;
  tileset.customShader = on ? undefined : SHADER;
  tileset.style = on ? byUse : undefined;
  tileset.colorBlendMode = 2;
  tileset.colorBlendAmount = 0.85;
}

const PATIENCE_MS = 8000;

/** Resolves when a tileset that isn't shown yet has loaded what the present view needs. */
function preloaded(tileset: Cesium3DTileset, widget: CesiumWidget): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearInterval(timer);
      stop();
      resolve();
    };
    const stop = tileset.initialTilesLoaded.addEventListener(end);
    const since = performance.now();
    const timer = setInterval(() => {
      widget.scene.requestRender(); // a scene that rests loads nothing
      if (performance.now() - since > PATIENCE_MS) end();
    }, 40);
  });
}

export async function buildings(layer: Layer, catalog: Catalog, widget: CesiumWidget): Promise<LayerRenderer> {
  const { primitives } = widget.scene;
  const byUse = styleByUse(layer, catalog);
  let shown = true;
  let tileset = await load(layer);
  primitives.add(tileset);
  state.colorByUse.subscribe(() => {
    dress(tileset, byUse);
    widget.scene.requestRender();
  });
  highlight(layer.id, widget);
  return {
    show: (visible) => {
      shown = visible;
      tileset.show = visible;
    },
    pick: (picked) => {
      if (!(picked instanceof Cesium3DTileFeature) || picked.tileset !== tileset) return null;
      return { layer: layer.id, id: String(picked.getProperty("id")) };
    },
    refresh: async () => {
      // one tile can't be loaded anew: the new root comes beside the old, and what didn't change from the caches
      const next = await load(layer);
      next.show = false;
      next.preloadWhenHidden = true;
      dress(next, byUse);
      primitives.add(next);
      if (shown) await preloaded(next, widget);
      const before = tileset;
      tileset = next;
      next.show = shown;
      if (lastPicked?.tileset === before) lastPicked = null;
      forgetLit();
      primitives.remove(before);
      widget.scene.requestRender();
    },
  };
}

/** The picked building is drawn lighter, in whichever level of detail it was picked. */
function highlight(layer: string, widget: CesiumWidget): void {
  state.selected.subscribe((selected) => {
    if (lit) lit.color = Color.WHITE;
    lit = null;
    const picked = lastPicked;
    if (selected?.layer === layer && picked && String(picked.getProperty("id")) === selected.id) {
      lit = picked;
      lit.color = Color.fromCssColorString("#ffd479");
    }
    widget.scene.requestRender();
  });
}

let lastPicked: Cesium3DTileFeature | null = null;
let lit: Cesium3DTileFeature | null = null;
function forgetLit(): void {
  lit = null;
}
export function rememberPicked(picked: unknown): void {
  lastPicked = picked instanceof Cesium3DTileFeature ? picked : null;
}
