import { readCatalog, type Catalog } from "./api";
import type { DrawnLayers } from "./layers";
import { state } from "./state";

const TOGETHER_MS = 30; // changes that come so close are shown in one go

/** Shows changes as the server tells of them, in the page as it stands; a page of a past moment doesn't change. */
export function followChanges(catalog: Catalog, layers: DrawnLayers): void {
  let shown = state.at.value;
  state.at.subscribe((at) => {
    if (at === shown) return;
    shown = at;
    void travel(catalog, layers);
  });
  const changed = new Set<string>();
  let timer = 0;
  const show = async () => {
    const ids = [...changed];
    changed.clear();
    // it says which layers have tiles now
    if (await recount(catalog)) await layers.follow(ids);
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
    if (missed && !state.at.value) note(catalog.layers.map((l) => l.id));
    missed = false;
  };
}

/** Shows the city of another moment in the page as it stands. */
async function travel(catalog: Catalog, layers: DrawnLayers): Promise<void> {
  if (await recount(catalog)) await layers.follow();
}

/** Counts, figures and what there is to draw, of the moment that is shown; false: another was asked for meanwhile. */
async function recount(catalog: Catalog): Promise<boolean> {
  const { value: at } = state.at;
  const fresh = await readCatalog();
  if (at !== state.at.value) return false;
  const byId = new Map(fresh.layers.map((l) => [l.id, l]));
  [catalog.terrain, catalog.groundHeightM] = [fresh.terrain, fresh.groundHeightM];
  catalog.figures = fresh.figures;
  for (const layer of catalog.layers) {
    const now = byId.get(layer.id);
    if (now) [layer.count, layer.bodies, layer.unknownCodes] = [now.count, now.bodies, now.unknownCodes];
  }
  state.edition.value += 1;
  return true;
}
