import type { Catalog, Layer } from "../api";
import { element } from "../dom";
import { local } from "../i18n";
import { state, toggleLayer } from "../state";

/** The catalogue tree: layers by CIM class, on and off, each with its sign and count; the legend where one is shown. */
export function tree(slot: HTMLElement, catalog: Catalog): void {
  slot.classList.add("card");
  const show = () => {
    const parts: HTMLElement[] = [];
    for (const cls of catalog.classes) {
      const layers = catalog.layers.filter((l) => l.classCode.startsWith(cls.code) && l.kind !== "observation");
      if (!layers.length) continue;
      parts.push(element("h2", {}, local(cls.title)));
      for (const layer of layers) {
        parts.push(row(layer, catalog));
        const legend = legendOf(layer, catalog);
        if (legend) parts.push(legend);
      }
    }
    slot.replaceChildren(...parts);
  };
  state.language.subscribe(show);
  state.visible.subscribe(show);
  state.colorByUse.subscribe(show);
  state.edition.subscribe(show);
}

function row(layer: Layer, catalog: Catalog): HTMLElement {
  const id = `layer-${layer.id}`;
  const box = element("input", { type: "checkbox", id, checked: state.visible.value.has(layer.id) });
  box.onchange = () => toggleLayer(layer.id);
  const empty = layer.kind === "feature" ? layer.count === 0 : !catalog.terrain;
  const made = element(
    "div",
    { className: "layer", title: local(layer.description) },
    box,
    swatch(layer),
    element("label", { htmlFor: id }, local(layer.title)),
    element("small", {}, layer.kind === "feature" ? layer.count.toLocaleString() : ""),
  );
  made.dataset.empty = String(empty);
  return made;
}

function swatch(layer: Layer): HTMLElement {
  const shape = layer.geometry === "Point" ? "point" : layer.geometry === "MultiLineString" ? "line" : "";
  const made = element("span", { className: `swatch ${shape}` });
  made.style.background = layer.style.fill ?? "#cfd5c5";
  if (layer.style.stroke && !shape) made.style.borderColor = layer.style.stroke;
  return made;
}

function legendOf(layer: Layer, catalog: Catalog): HTMLElement | null {
  const field = layer.fields.find((f) => f.name === layer.style.color_by);
  const codes = field?.codes ? catalog.codeLists[field.codes] : undefined;
  const shown = state.visible.value.has(layer.id) && layer.count > 0 && (!layer.bodies || state.colorByUse.value);
  if (!codes || !shown) return null;
  const rows = codes.map((code) => {
    const mark = element("i");
    mark.style.background = code.color ?? "#ccc";
    return element("div", {}, mark, local(code.title));
  });
  return element("div", { className: "legend" }, ...rows);
}
