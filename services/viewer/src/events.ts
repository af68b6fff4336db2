import { at, readCatalog, type Catalog } from "./api";
import type { DrawnLayers } from "./layers";
import { state } from "./state";

const TOGETHER_MS = 30; // changes that come so close are shown in one go

/** Shows changes as the server tells of them, in the page as it stands; a page of a past moment doesn't change. */
export function followChanges(catalog: Catalog, layers: DrawnLayers): void {
  if (at) return;
  const changed = new Set<string>();
  let timer = 0;
  const show = async () => {
    const now = [...changed];
    changed.clear();
    await Promise.allSettled([...now.map((id) => layers.refresh(id)), recount(catalog)]);
  };
  const note = (ids: Iterable<string>) => {
    for (const id of ids) changed.add(id);
    clearTimeout(timer);
    timer = window.setTimeout(() => void show(), TOGETHER_MS);
  };
  let missed = false;
  const source = new EventSource("viewer/events");
  source.onmessage = (event) => note([(JSON.parse(event.data as string) as { layer: string }).layer]);
  source.onerror = () => (missed = true);
  source.onopen = () => {
    if (missed) note(catalog.layers.filter((l) => l.kind === "feature").map((l) => l.id));
    missed = false;
  };
}

async function recount(catalog: Catalog): Promise<void> {
  const counts = new Map((await readCatalog()).layers.map((l) => [l.id, l.count]));
  for (const layer of catalog.layers) layer.count = counts.get(layer.id) ?? layer.count;
  state.edition.value += 1;
}
