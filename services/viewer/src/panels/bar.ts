import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "../api";
import { element } from "../dom";
import { local, text } from "../i18n";
import { state } from "../state";
import { TOOLS } from "../tools";

const FIGURES = 5;

/** The title, the city's key figures, and the tools. */
export function bar(slot: HTMLElement, catalog: Catalog, widget: CesiumWidget): void {
  const show = () => {
    const brand = element("div", { className: "card brand" }, element("b", {}, catalog.city.name), element("span", {}, text("title")));
    const counted = catalog.layers.filter((l) => l.kind === "feature" && l.count > 0).sort((a, b) => b.count - a.count);
    const figures = element("div", { className: "card figures" });
    for (const layer of counted.slice(0, FIGURES))
      figures.append(element("div", {}, element("b", {}, layer.count.toLocaleString()), element("span", {}, local(layer.title))));
    const tools = element("div", { className: "card tools" });
    for (const tool of TOOLS) tools.append(tool(catalog, widget));
    slot.replaceChildren(brand, figures, tools);
  };
  state.language.subscribe(show);
  state.edition.subscribe(show);
}
