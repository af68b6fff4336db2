import { readCatalog, type Catalog } from "./api";
import type { CesiumWidget } from "@cesium/engine";
import type { DrawnLayers } from "./layers";
import { showGround } from "./scene";
import { state } from "./state";

const TOGETHER_MS = 30; // changes that come so close are shown in one go

/** Shows changes as the server tells of them, in the page as it stands; a page of a past moment doesn't change. */
export function followChanges(catalog: Catalog, layers: DrawnLayers, widget: CesiumWidget): void {
  let shown = state.at.value;
  state.at.subscribe((at) => {
    if (at === shown) return;
    shown = at;
    void travel(catalog, layers, widget);
  });
  const changed = new Set<string>();
  let timer = 0;
  const show = async () => {
    const now = [...changed];
    changed.clear();
    await recount(catalog); // it says which layers have tiles now
    await Promise.allSettled(now.map((id) => layers.refresh(id)));
  };
  const note = (ids: Iterable<string>) => {
    for (const id of ids) changed.add(id);
    clearTimeout(timer);
    timer = window.setTimeout(() => void show(), TOGETHER_MS);
  };
  let missed = false;
  const source = new EventSource("viewer/events");
  source.onmessage = (event) => !state.at.value && note([(JSON.parse(event.data as string) as { layer: string }).layer]);
  source.onerror = () => (missed = true);
  source.onopen = () => {
    if (missed && !state.at.value) note(catalog.layers.filter((l) => l.kind === "feature").map((l) => l.id));
    missed = false;
  };
}

/** Shows the city of another moment in the page as it stands. */
async function travel(catalog: Catalog, layers: DrawnLayers, widget: CesiumWidget): Promise<void> {
  await recount(catalog);
  await showGround(widget, catalog);
  await Promise.allSettled(catalog.layers.filter((l) => l.kind === "feature").map((l) => layers.refresh(l.id)));
}

/** Counts and figures of the moment that is shown. */
export async function recount(catalog: Catalog): Promise<void> {
  const fresh = await readCatalog();
  const known = new Map(fresh.layers.map((l) => [l.id, l]));
  catalog.terrain = fresh.terrain;
  catalog.figures = fresh.figures;
  for (const layer of catalog.layers) {
    const now = known.get(layer.id);
    if (now) [layer.count, layer.tiled] = [now.count, now.tiled];
  }
  state.edition.value += 1;
}
