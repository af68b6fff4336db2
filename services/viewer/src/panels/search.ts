import { type CesiumWidget } from "@cesium/engine";
import { readFound, type Catalog, type Found } from "../api";
import { element } from "../dom";
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
  let results: Found[] = [];
  const choose = (found: Found) => {
    list.hidden = true;
    const layer = catalog.layers.find((l) => l.id === found.layer);
    if (layer && !state.visible.value.has(layer.id)) state.visible.value = new Set([...state.visible.value, layer.id]);
    if (layer && found.id) state.selected.value = { layer: layer.id, id: found.id };
    flyTo(widget, found.lon, found.lat);
  };
  const show = () => {
    list.replaceChildren(
      ...results.map((found) => {
        const layer = catalog.layers.find((l) => l.id === found.layer);
        const what = layer ? local(layer.title) : `${text("coordinate")} ${found.crs ?? ""}`;
        const row = element("button", { type: "button" }, element("b", {}, found.text), element("small", {}, what));
        row.onclick = () => choose(found);
        return element("li", {}, row);
      }),
    );
    if (!results.length) list.append(element("li", { className: "soft" }, text("nothingFound")));
    list.hidden = false;
  };
  const ask = async () => {
    const words = input.value.trim();
    const mine = ++asked;
    if (!words) {
      list.hidden = true;
      return;
    }
    const found = await readFound(words).catch(() => []);
    if (mine !== asked) return;
    results = found;
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
