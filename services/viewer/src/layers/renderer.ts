import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "../api";
import type { Layer } from "../generated";
import type { Declutter } from "./declutter";
import type { Drape } from "./draped";

/** What the rest of the page knows of a drawn layer. It draws nothing before it is told to follow. */
export interface LayerRenderer {
  show(visible: boolean): void;
  /** The object at a place on the screen, if it is one of this renderer's. */
  pick?(picked: unknown): { layer: string; id: string } | null;
  /** Shows what the layer holds at the moment that is shown; the old picture stays until the new one is there. */
  follow(): Promise<void>;
}

/** What renderers draw on. */
export type Canvas = { catalog: Catalog; widget: CesiumWidget; drape: Drape; declutter: Declutter };

/** Chooses what draws a layer; nothing where there is nothing to draw of it. */
export type Draw = (layer: Layer, canvas: Canvas) => LayerRenderer[];
