import { showGround } from "../scene";
import type { Draw } from "./renderer";

/** The ground that everything stands on; other rasters aren't drawn. */
export const ground: Draw = (layer, { catalog, widget }) => {
  if (layer.role !== "ground") return [];
  const { globe } = widget.scene;
  return [
    {
      show: (visible) => (globe.show = visible || !catalog.terrain),
      follow: () => showGround(widget, catalog),
    },
  ];
};
