import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "../api";
import { element } from "../dom";
import { local, text } from "../i18n";
import { state } from "../state";
import { TOOLS } from "../tools";
import { buttonOf, mountPanel, pressed } from "../tools/tool";
import { searchBox } from "./search";

const UNITS: Record<string, string> = { km2: "km²", m2: "m²" };

/** The title, the search box, the city's key figures, and the tools. */
export function bar(slot: HTMLElement, catalog: Catalog, widget: CesiumWidget): void {
  const figures = element("div", { className: "card figures" });
  const count = () => {
    figures.replaceChildren(
      ...catalog.figures.map((f) => {
        const digits = f.value < 100 && !Number.isInteger(f.value) ? 1 : 0;
        const value = f.value.toLocaleString(undefined, { maximumFractionDigits: digits });
        const shown = element("div", {}, element("b", {}, f.unit ? `${value} ${UNITS[f.unit] ?? f.unit}` : value), element("span", {}, local(f.title)));
        shown.dataset.figure = f.layer;
        return shown;
      }),
    );
  };
  let buttons: HTMLElement[] = [];
  const press = () =>
    TOOLS.forEach((tool, i) => {
      const on = pressed(tool);
      if (on !== null) buttons[i]?.setAttribute("aria-pressed", String(on));
    });
  state.language.subscribe(() => {
    const brand = element("div", { className: "card brand" }, element("b", {}, catalog.city.name), element("span", {}, text("title")));
    buttons = TOOLS.map((tool) => buttonOf(tool, catalog, widget));
    const tools = element("nav", { className: "card tools", ariaLabel: text("tools") }, ...buttons);
    slot.replaceChildren(brand, searchBox(catalog, widget), figures, tools);
    count();
    press();
  });
  for (const tool of TOOLS) {
    mountPanel(tool, catalog, widget);
    tool.toggles?.subscribe(press);
  }
  state.tool.subscribe(press);
  state.edition.subscribe(count);
}
