import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "../api";
import { element } from "../dom";
import { text } from "../i18n";
import { state } from "../state";
import { tools } from "../tools";
import { buttonOf, mountPanel, pressed, type Tool } from "../tools/tool";
import { keyFigures } from "./key-figures";
import { searchBox } from "./search";

/** The title, the search box, the city's key figures, and the tools. */
export function topBar(slot: HTMLElement, catalog: Catalog, widget: CesiumWidget): void {
  const figures = element("div", { className: "card figures" });
  const count = keyFigures(figures, catalog);
  const row = element("nav", { className: "card tools" });
  let buttons: HTMLElement[] = [];
  const press = () =>
    tools.value.forEach((tool, i) => {
      const on = pressed(tool);
      if (on !== null) buttons[i]?.setAttribute("aria-pressed", String(on));
    });
  const drawTools = () => {
    buttons = tools.value.map((tool) => buttonOf(tool, catalog, widget));
    row.replaceChildren(...buttons);
    press();
  };
  state.language.subscribe(() => {
    const brand = element("div", { className: "card brand" }, element("b", {}, catalog.city.name), element("span", {}, text("title")));
    row.ariaLabel = text("tools");
    slot.replaceChildren(brand, searchBox(catalog, widget), figures, row);
    count();
    drawTools();
  });
  for (const tool of tools.value) mountPanel(tool, catalog, widget);
  const followed = new Set<Tool>();
  tools.subscribe((all) => {
    for (const tool of all) if (!followed.has(tool)) tool.toggles?.subscribe(press);
    all.forEach((tool) => followed.add(tool));
    drawTools(); // others' come after the page's own stand
  });
  state.tool.subscribe(press);
  state.edition.subscribe(count);
}
