import { type CesiumWidget } from "@cesium/engine";
import { readHits, type Catalog } from "../api";
import { element } from "../dom";
import type { Hit } from "../generated";
import { local, text } from "../i18n";
import { flyTo } from "../scene";
import { state } from "../state";

const PAUSE_MS = 180;

/** One box for a name, an address, a code or a coordinate; choosing a result flies there and selects it. */
export function searchBox(catalog: Catalog, widget: CesiumWidget): HTMLElement {
  const input = element("input", { id: "search", type: "search", autocomplete: "off", placeholder: text("searchHint"), ariaLabel: text("search") });
  const list = element("ul", { id: "found", className: "card", hidden: true });
  list.setAttribute("aria-label", text("search"));
  let timer = 0;
  let asked = 0;
  let results: Hit[] = [];
  const choose = (hit: Hit) => {
    list.hidden = true;
    const layer = catalog.layers.find((l) => l.id === hit.layer);
    if (layer && !state.visible.value.has(layer.id)) state.visible.value = new Set([...state.visible.value, layer.id]);
    if (layer && hit.id) state.selected.value = { layer: layer.id, id: hit.id };
    flyTo(widget, catalog, hit.lon, hit.lat);
  };
  const show = () => {
    list.replaceChildren(
      ...results.map((hit) => {
        const layer = catalog.layers.find((l) => l.id === hit.layer);
        const kind = layer ? local(layer.title) : `${text("coordinate")} ${hit.crs ?? ""}`;
        const row = element("button", { type: "button" }, element("b", {}, hit.text), element("small", {}, kind));
        row.onclick = () => choose(hit);
        return element("li", {}, row);
      }),
    );
    if (!results.length) list.append(element("li", { className: "soft" }, text("nothingFound")));
    list.hidden = false;
  };
  const ask = async () => {
    const words = input.value.trim();
    const turn = ++asked;
    if (!words) {
      list.hidden = true;
      return;
    }
    const hits = await readHits(words).catch(() => []);
    if (turn !== asked) return;
    results = hits;
    show();
  };
  input.oninput = () => {
    clearTimeout(timer);
    timer = window.setTimeout(() => void ask(), PAUSE_MS);
  };
  input.onkeydown = async (event) => {
    if (event.key === "Escape") list.hidden = true;
    if (event.key !== "Enter") return;
    clearTimeout(timer);
    await ask();
    if (results[0]) choose(results[0]);
  };
  const box = element("div", { className: "search card" }, input, list);
  return box;
}
