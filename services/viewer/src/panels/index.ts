import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "../api";
import { topBar } from "./top-bar";
import { info } from "./info";
import { readout } from "./readout";
import { tree } from "./tree";

/** A panel mounts once into its slot and subscribes to what it shows. A new panel is one row here. */
export type Panel = { slot: "bar" | "left" | "right" | "foot"; mount: (slot: HTMLElement, catalog: Catalog, widget: CesiumWidget) => void };

export const PANELS: Panel[] = [
  { slot: "bar", mount: topBar },
  { slot: "left", mount: tree },
  { slot: "right", mount: info },
  { slot: "foot", mount: readout },
];
