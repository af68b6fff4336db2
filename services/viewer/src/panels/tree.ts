import { readDatasets, UNLISTED, type Catalog, type Layer } from "../api";
import { element } from "../dom";
import { local, text } from "../i18n";
import { state, toggleLayer } from "../state";

/** The catalogue tree: layers by CIM class, searched, on and off; legend, opacity and metadata of each. */
export function tree(slot: HTMLElement, catalog: Catalog): void {
  slot.classList.add("card");
  let wanted = "";
  const open = new Set<string>(); // layers whose details are shown
  const filter = element("input", { type: "search", id: "layer-filter" });
  const list = element("div");
  filter.oninput = () => {
    wanted = filter.value.trim().toLowerCase();
    show();
  };
  const matches = (layer: Layer) =>
    !wanted || [layer.id, layer.title.zh, layer.title.en, layer.description.zh, layer.description.en].some((t) => t.toLowerCase().includes(wanted));
  const show = () => {
    filter.placeholder = text("filterLayers");
    filter.ariaLabel = text("filterLayers");
    const parts: HTMLElement[] = [];
    for (const cls of catalog.classes) {
      const layers = catalog.layers.filter((l) => l.classCode.startsWith(cls.code) && l.drawing && matches(l));
      if (!layers.length) continue;
      parts.push(element("h2", {}, local(cls.title)));
      for (const layer of layers) {
        parts.push(row(layer, catalog, open, show));
        if (open.has(layer.id)) parts.push(details(layer));
        const legend = legendOf(layer, catalog);
        if (legend) parts.push(legend);
        if (layer.unknownCodes.length) parts.push(unlistedOf(layer));
      }
    }
    list.replaceChildren(...parts);
  };
  slot.replaceChildren(element("div", { className: "filter" }, filter), list);
  state.language.subscribe(show);
  state.visible.subscribe(show);
  state.colorByUse.subscribe(show);
  state.edition.subscribe(show);
}

function row(layer: Layer, catalog: Catalog, open: Set<string>, show: () => void): HTMLElement {
  const id = `layer-${layer.id}`;
  const box = element("input", { type: "checkbox", id, checked: state.visible.value.has(layer.id) });
  box.onchange = () => toggleLayer(layer.id);
  const empty = layer.counted ? layer.count === 0 : layer.role !== "ground" || !catalog.terrain;
  const more = element("button", { className: "more", type: "button", title: text("details"), ariaLabel: `${local(layer.title)}: ${text("details")}` }, "⋯");
  more.setAttribute("aria-expanded", String(open.has(layer.id)));
  more.onclick = () => {
    if (!open.delete(layer.id)) open.add(layer.id);
    show();
  };
  const made = element(
    "div",
    { className: "layer", title: local(layer.description) },
    box,
    swatch(layer),
    element("label", { htmlFor: id }, local(layer.title)),
    element("small", {}, layer.counted ? layer.count.toLocaleString() : ""),
    more,
  );
  made.dataset.empty = String(empty);
  return made;
}

/** What a layer is, where it comes from, and how opaque it is drawn. */
function details(layer: Layer): HTMLElement {
  const facts = element("dl");
  const fact = (title: string, value: string) => facts.append(element("dt", {}, title), element("dd", {}, value));
  fact(text("id"), layer.id);
  fact(text("classCode"), `${layer.classCode} · CIM${layer.cimLevel}`);
  if (layer.fields.length) fact(text("fields"), layer.fields.map((f) => local(f.title)).join(state.language.value === "zh" ? "、" : ", "));
  void readDatasets(layer.id).then((found) => {
    for (const d of found) fact(d.name, `${d.surveyed ?? text("undated")} · ${d.count.toLocaleString()}${d.licence ? ` · ${d.licence}` : ""}`);
  });
  const opaque = element("input", { type: "range", min: "0", max: "1", step: "0.05", value: String(state.opacity.value[layer.id] ?? 1), ariaLabel: text("opacity") });
  opaque.onchange = () => (state.opacity.value = { ...state.opacity.value, [layer.id]: Number(opaque.value) });
  const links = element("div", { className: "links" });
  const link = (title: string, address: string) => links.append(element("a", { href: address, target: "_blank", rel: "noopener" }, title));
  link("OGC API", `ogc/collections/${layer.id}?lang=${state.language.value}`);
  if (layer.geometry) link("GeoJSON", `ogc/collections/${layer.id}/items?f=json&limit=100`);
  if (layer.geometry) link("QML", `styles/${layer.id}/qml`);
  const made = element("div", { className: "details" }, element("p", {}, local(layer.description)), facts);
  if (layer.geometry && layer.geometry !== "Point") made.append(element("label", { className: "opacity" }, text("opacity"), opaque));
  made.append(links);
  return made;
}

function swatch(layer: Layer): HTMLElement {
  const shape = layer.geometry === "Point" ? "point" : layer.geometry === "MultiLineString" ? "line" : "";
  const made = element("span", { className: `swatch ${shape}` });
  made.style.background = layer.style.fill ?? "#cfd5c5";
  if (layer.style.stroke && !shape) made.style.borderColor = layer.style.stroke;
  return made;
}

/** The values of a layer that its code lists don't have: how many objects have each, and how they are drawn. */
function unlistedOf(layer: Layer): HTMLElement {
  const rows = layer.unknownCodes.map(({ field, value, count }) => {
    const mark = element("i");
    mark.style.background = field === layer.style.color_by ? ((!layer.bodies && layer.style.fill) || UNLISTED) : "transparent";
    const title = layer.fields.find((f) => f.name === field)?.title;
    return element("div", {}, mark, `${title ? local(title) : field}: ${value} · ${count.toLocaleString()} · ${text("notInCodeList")}`);
  });
  const made = element("div", { className: "legend" }, ...rows);
  made.dataset.unlisted = layer.id;
  return made;
}

function legendOf(layer: Layer, catalog: Catalog): HTMLElement | null {
  const field = layer.fields.find((f) => f.name === layer.style.color_by);
  const codes = field?.codes ? catalog.codeLists[field.codes] : undefined;
  const shown = state.visible.value.has(layer.id) && layer.count > 0 && (!layer.bodies || state.colorByUse.value);
  if (!codes || !shown || layer.geometry === "Point") return null;
  const rows = codes.map((code) => {
    const mark = element("i");
    mark.style.background = code.color ?? "#ccc";
    return element("div", {}, mark, local(code.title));
  });
  return element("div", { className: "legend" }, ...rows);
}
