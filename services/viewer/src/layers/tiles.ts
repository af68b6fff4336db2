import type { Cesium3DTileset, CesiumWidget } from "@cesium/engine";
import type { Layer } from "../generated";
import { inStep, type InStep } from "./in-step";

const PATIENCE_MS = 8000;

/** The 3D tiles of a layer on the scene: of the moment that is shown, or none. */
export function tilesOf(
  layer: Layer,
  widget: CesiumWidget,
  load: () => Promise<Cesium3DTileset>,
  forget: (gone: Cesium3DTileset) => void = () => undefined,
): InStep<Cesium3DTileset> {
  const { primitives } = widget.scene;
  return inStep(() => layer.bodies, {
    load,
    add: (tileset) => {
      tileset.preloadWhenHidden = true;
      primitives.add(tileset);
    },
    remove: (tileset) => {
      forget(tileset);
      if (!primitives.remove(tileset)) tileset.destroy();
      widget.scene.requestRender();
    },
    show: (tileset, visible) => {
      tileset.show = visible;
      widget.scene.requestRender();
    },
    ready: (tileset) => preloaded(tileset, widget),
  });
}

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
