import type { Catalog } from "../api";
import { element } from "../dom";
import { local } from "../i18n";

const UNITS: Record<string, string> = { km2: "km²", m2: "m²" };

/** Draw the city's key figures, one a layer that declares one, and return what draws them anew in the page's language. */
export function keyFigures(slot: HTMLElement, catalog: Catalog): () => void {
  return () =>
    slot.replaceChildren(
      ...catalog.figures.map((f) => {
        const digits = f.value < 100 && !Number.isInteger(f.value) ? 1 : 0;
        const value = f.value.toLocaleString(undefined, { maximumFractionDigits: digits });
        const shown = element("div", {}, element("b", {}, f.unit ? `${value} ${UNITS[f.unit] ?? f.unit}` : value), element("span", {}, local(f.title)));
        shown.dataset.figure = f.layer;
        return shown;
      }),
    );
}
