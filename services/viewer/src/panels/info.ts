import { readFeature, readProvenance, readSeries, type Catalog, type Layer } from "../api";
import { chart } from "../chart";
import { element } from "../dom";
import { local, text } from "../i18n";
import { state } from "../state";
import { asText } from "../value";

/** What is known of the selected object, how old that is, and from whom. */
export function info(slot: HTMLElement, catalog: Catalog): void {
  slot.classList.add("card");
  const show = async () => {
    const selected = state.selected.value;
    const layer = catalog.layers.find((l) => l.id === selected?.layer);
    slot.hidden = !selected || !layer;
    if (!selected || !layer) return;
    try {
      const [feature, origin] = await Promise.all([
        readFeature(layer.id, selected.id, state.language.value),
        readProvenance(layer.id, selected.id),
      ]);
      if (state.selected.value !== selected) return; // another click came first
      const charts = await Promise.all(catalog.layers.filter((l) => l.observes === layer.id).map((l) => seriesOf(l, selected.id, catalog.city.timezone)));
      if (state.selected.value !== selected) return;
      slot.replaceChildren(...content(layer, catalog, selected.id, feature.properties, origin), ...charts.flat());
    } catch {
      slot.replaceChildren(closer(), element("h1", {}, selected.id), element("p", {}, text("unreadable")));
    }
  };
  state.selected.subscribe(() => void show());
  state.language.subscribe(() => void show());
  state.edition.subscribe(() => void show());
}

const FIRST = ["occupied", "value"]; // the role that says most of a feature's values

/** The values of an observation layer for a feature, as a chart by the hour. */
async function seriesOf(layer: Layer, feature: string, timeZone: string): Promise<HTMLElement[]> {
  const series = await readSeries(layer.id, feature, "hour");
  const fields = layer.fields.filter((f) => series.values[f.name]?.mean.some((v) => v !== null));
  const field = fields.find((f) => FIRST.includes(f.role ?? "")) ?? fields[0];
  if (!field || series.times.length < 2) return [];
  const unit = field.unit && field.unit !== "1" ? ` (${field.unit})` : "";
  return [element("hr"), chart(series.times, series.values[field.name]!.mean, `${local(layer.title)}: ${local(field.title)}${unit}`, timeZone)];
}

function closer(): HTMLElement {
  return element("button", { className: "close", title: text("close"), onclick: () => (state.selected.value = null) }, "✕");
}

function content(
  layer: Layer,
  catalog: Catalog,
  id: string,
  properties: Record<string, unknown>,
  origin: Awaited<ReturnType<typeof readProvenance>>,
): HTMLElement[] {
  const name = layer.fields.find((f) => f.role === "name");
  const attributes = element("dl");
  row(attributes, text("id"), id);
  for (const field of layer.fields) {
    const value = properties[field.name];
    if (value === null || value === undefined) continue;
    const code = field.codes ? catalog.codeLists[field.codes]?.find((c) => c.value === value) : undefined;
    row(attributes, local(field.title), code ? local(code.title) : `${asText(value)}${field.unit ? ` ${field.unit}` : ""}`, field.name);
  }
  const provenance = element("dl");
  row(provenance, text("dataset"), asText(origin.dataset));
  row(provenance, text("surveyed"), asText(origin.surveyed) || text("undated"));
  row(provenance, text("load"), `${asText(origin.load)} · ${asText(origin.loaded).slice(0, 16)}`);
  if (origin.file) {
    const record = origin.record && origin.record !== id ? ` · ${asText(origin.record)}` : "";
    row(provenance, text("file"), [origin.file, origin.file_table].filter(Boolean).join(" · ") + record);
  }
  if (origin.operator) row(provenance, text("operator"), asText(origin.operator));
  const title = (name && properties[name.name]) || id;
  return [
    closer(),
    element("h1", {}, asText(title)),
    element("div", { className: "kind" }, local(layer.title)),
    attributes,
    element("hr"),
    provenance,
  ];
}

function row(list: HTMLElement, title: string, value: string, name?: string): void {
  const shown = element("dd", {}, value);
  if (name) shown.dataset.field = name;
  list.append(element("dt", {}, title), shown);
}
