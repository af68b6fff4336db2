import { bodies } from "./bodies";
import { marks } from "./marks";
import type { Draw, LayerRenderer } from "./renderer";

/** Features: bodies as 3D tiles where there are some, else areas and lines draped; points as signs; names. */
export const features: Draw = (layer, canvas) => {
  const renderers: LayerRenderer[] = [bodies(layer, canvas)];
  if (layer.geometry !== "Point") renderers.push(canvas.drape.rendererOf(layer));
  if (!layer.symbol && (layer.geometry === "Point" || layer.style.label)) renderers.push(marks(layer, canvas));
  return renderers;
};
