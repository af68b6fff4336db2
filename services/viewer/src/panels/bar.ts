import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "../api";
import { element } from "../dom";
import { local, text } from "../i18n";
import { state } from "../state";
import { TOOLS } from "../tools";

const FIGURES = 5;

/** The title, the city's key figures, and the tools. */
export function bar(slot: HTMLElement, catalog: Catalog, widget: CesiumWidget): void {
  const figures = element("div", { className: "card figures" });
  const count = () => {
    const counted = catalog.layers.filter((l) => l.kind === "feature" && l.count > 0).sort((a, b) => b.count - a.count);
    figures.replaceChildren(
      ...counted.slice(0, FIGURES).map((l) => element("div", {}, element("b", {}, l.count.toLocaleString()), element("span", {}, local(l.title)))),
    );
  };
  state.language.subscribe(() => {
    const brand = element("div", { className: "card brand" }, element("b", {}, catalog.city.name), element("span", {}, text("title")));
    const tools = element("div", { className: "card tools" });
    for (const tool of TOOLS) tools.append(tool(catalog, widget));
    slot.replaceChildren(brand, figures, tools);
    count();
  });
  state.edition.subscribe(count);
}
