import type { CesiumWidget } from "@cesium/engine";
import type { Catalog, Layer } from "../api";

/** What the rest of the page knows of a drawn layer. */
export interface LayerRenderer {
  show(visible: boolean): void;
  /** The object at a place on the screen, if it is one of this renderer's. */
  pick?(picked: unknown): { layer: string; id: string } | null;
  /** Shows what the layer holds now; the old picture stays until the new one is there. */
  refresh?(): Promise<void>;
}

export type MakeRenderer = (layer: Layer, catalog: Catalog, widget: CesiumWidget) => Promise<LayerRenderer>;
