import {
  dismissJob, readJob, readPicture, readProcess, readProcesses, readResults, startJob,
  type Catalog, type Layer,
} from "../api";
import { lines } from "../chart";
import { shownTime } from "../clock";
import { element } from "../dom";
import type { Column, Input, Process, Results } from "../generated";
import { local, text } from "../i18n";
import { coloured, pictured, type Coloured } from "../results";
import { state } from "../state";
import { asText, shownValue } from "../value";
import type { Tool } from "./tool";

const POLL_MS = 150;
const ROWS = 12;
const HEXAGONS = [8, 9, 10];

/** The registry of analyses as forms; a result is a coloured layer, its legend, figures, and what it was computed from. */
export const analyses: Tool = { id: "analyses", title: "analyses", panel: { id: "analysis", mount } };

function mount(slot: HTMLElement, catalog: Catalog): void {
  let chosen = "";
  let asked: Record<string, string> = {};
  let job: string | null = null;
  let answer: { process: Process; result: Results; drawn: Coloured } | null = null;
  let shown = 0;

  const show = async () => {
    if (state.tool.value !== analyses.id) return;
    const turn = (shown += 1);
    const list = await readProcesses(state.language.value);
    chosen ||= list[0]?.id ?? "";
    const process = await readProcess(chosen, state.language.value);
    if (turn !== shown) return; // another language or analysis came first
    const choice = element("select", { id: "analysis-choice", ariaLabel: text("analyses") });
    for (const p of list) choice.append(element("option", { value: p.id, selected: p.id === chosen }, p.title));
    choice.onchange = () => {
      chosen = choice.value;
      asked = {};
      clear();
      void show();
    };
    const form = formOf(process);
    const outcome = element("div", { id: "analysis-outcome" });
    slot.replaceChildren(choice, element("p", { className: "soft" }, process.description), form, outcome);
    if (answer?.process.id === chosen) outcome.replaceChildren(...outcomeOf({ process, result: answer.result, drawn: answer.drawn }));
  };

  const clear = () => {
    answer = null;
    state.result.value = null;
    slot.querySelector("#analysis-outcome")?.replaceChildren();
  };

  const formOf = (process: Process): HTMLFormElement => {
    const form = element("form");
    const entries = Object.entries(process.inputs).filter(([, i]) => simple(i));
    for (const [name, input] of entries) form.append(fieldOf(name, input, process, form));
    const buttons = element("div", { className: "buttons" }, element("button", { className: "primary", type: "submit" }, text("run")));
    if (entries.some(([, i]) => i.schema["x-choices"] === "place")) buttons.append(placeButton(form));
    const clearing = element("button", { type: "button", id: "analysis-clear" }, text("clear"));
    clearing.onclick = clear;
    buttons.append(clearing);
    form.append(buttons);
    form.onsubmit = (event) => {
      event.preventDefault();
      void run(process, form);
    };
    return form;
  };

  const fieldOf = (name: string, input: Input, process: Process, form: HTMLFormElement): HTMLElement => {
    const options = optionsOf(input, process, catalog, asked);
    const control = options ? element("select", { name }) : element("input", { name, type: numeric(input) ? "number" : "text" });
    if (control instanceof HTMLSelectElement)
      for (const [value, title] of options ?? []) control.append(element("option", { value }, title));
    else if (numeric(input)) control.step = "any";
    control.required = input.minOccurs > 0;
    control.value = asked[name] ?? asText(input.schema.default ?? options?.[0]?.[0]);
    if (input.schema["x-choices"] === "layers") control.onchange = () => void refill(form);
    const unit = input.schema["x-ogc-unit"];
    return element("label", { title: input.description ?? "" }, unit && unit !== "1" ? `${input.title} (${unit})` : input.title, control);
  };

  const remember = (form: HTMLFormElement) => {
    asked = Object.fromEntries([...new FormData(form)].map(([k, v]) => [k, asText(v)]));
  };
  const refill = (form: HTMLFormElement) => {
    remember(form);
    return show();
  };

  const placeButton = (form: HTMLFormElement): HTMLElement => {
    const button = element("button", { type: "button", id: "analysis-place" }, text("pickPlace"));
    button.onclick = () => {
      button.setAttribute("aria-pressed", "true");
      state.placing.value = (lon, lat) => {
        state.placing.value = null;
        button.setAttribute("aria-pressed", "false");
        (form.elements.namedItem("lon") as HTMLInputElement).value = lon.toFixed(6);
        (form.elements.namedItem("lat") as HTMLInputElement).value = lat.toFixed(6);
      };
    };
    return button;
  };

  const run = async (process: Process, form: HTMLFormElement) => {
    remember(form);
    clear();
    const outcome = slot.querySelector("#analysis-outcome") as HTMLElement;
    const inputs = Object.fromEntries(
      Object.entries(asked)
        .filter(([, v]) => v !== "")
        .map(([k, v]) => [k, numeric(process.inputs[k]!) ? Number(v) : v]),
    );
    const bar = element("progress", { max: 100, value: 0 });
    const stop = element("button", { type: "button", id: "analysis-stop" }, text("stop"));
    outcome.replaceChildren(bar, element("div", { className: "buttons" }, stop));
    try {
      const own = (job = await startJob(process.id, inputs));
      stop.onclick = () => void dismissJob(own);
      for (;;) {
        const status = await readJob(own);
        if (job !== own) return; // another run came first
        bar.value = status.progress;
        if (status.status === "successful") break;
        if (status.status === "failed" || status.status === "dismissed") throw new Error(status.message || status.status);
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
      const result = await readResults(own);
      const look = process.outputs.result.schema;
      const picture = result.raster ? await readPicture(own) : null;
      answer = { process, result, drawn: picture ? pictured(result, look, picture.image, picture.box) : coloured(result, look) };
      outcome.replaceChildren(...outcomeOf(answer));
    } catch (fault) {
      outcome.replaceChildren(element("p", { className: "fault", role: "alert" }, (fault as Error).message));
    }
  };

  const outcomeOf = ({ process, result, drawn }: { process: Process; result: Results; drawn: Coloured }): HTMLElement[] => {
    state.result.value = drawn;
    const legend = element("div", { className: "legend", id: "analysis-legend" });
    for (const { color, label } of drawn.legend) {
      const mark = element("i");
      mark.style.background = color;
      legend.append(element("div", {}, mark, label));
    }
    const { passed, what, what_zh } = result.check;
    const verdict = passed === null ? "checkUnknown" : passed ? "checkPassed" : "checkFailed";
    const check = element("div", { className: "check soft", title: local({ zh: what_zh, en: what }) }, text(verdict));
    check.dataset.passed = String(passed);
    const since = shownTime(Date.parse(asText(result.computed_from.at)), catalog.city.timezone, document.documentElement.lang);
    const notes = element("ul", { className: "soft", id: "analysis-notes" });
    for (const note of result.notes ?? []) notes.append(element("li", {}, local(note)));
    const plots = process.outputs.result.schema["x-plots"].flatMap((plot) => {
      const cells = result.features.map((f) => f.properties[plot.column]).filter((v): v is (number | null)[] => Array.isArray(v));
      return cells.length ? [lines(cells, plot.title, plot.ticks)] : [];
    });
    const dated = element("div", { className: "soft" }, `${text("asOf")} ${since}`);
    return [legend, figuresOf(result, process), ...plots, tableOf(result, process), check, ...(result.notes ? [notes] : []), dated];
  };

  state.tool.subscribe((open) => {
    if (open !== analyses.id) clear();
    void show();
  });
  state.language.subscribe(() => void show());
}

/** Inputs that a form can hold; lists and geometries are for other doors. */
const simple = (input: Input): boolean => !["array", "object"].includes(input.schema.type ?? "");
const numeric = (input: Input): boolean => ["number", "integer"].includes(input.schema.type ?? "");

function optionsOf(input: Input, process: Process, catalog: Catalog, asked: Record<string, string>): [string, string][] | null {
  // the layers that an analysis has something of its own for come first
  const roles = new Set(Object.values(process.inputs).flatMap((i) => (i.schema["x-also"] ?? []).map((o) => o.role)));
  const preferred = (l: Layer) => Number(l.role !== null && roles.has(l.role));
  const filled = catalog.layers.filter((l) => l.geometry && l.count > 0);
  const also = input.schema["x-also"] ?? [];
  const optional: [string, string][] = input.minOccurs === 0 && input.schema.default === undefined ? [["", text("choose")]] : [];
  if (input.schema.enum) return input.schema.enum.map((v): [string, string] => [v, v]);
  switch (input.schema["x-choices"]) {
    case "layers":
      return filled.sort((a, b) => preferred(b) - preferred(a)).map((l) => [l.id, local(l.title)]);
    case "areas": {
      const areas = filled.filter((l) => l.geometry === "MultiPolygon" && !l.bodies).map((l): [string, string] => [l.id, local(l.title)]);
      const hexagons = HEXAGONS.map((n): [string, string] => [`h3:${n}`, state.language.value === "zh" ? `${n}${text("hexagonsOf")}` : `${text("hexagonsOf")} ${n}`]);
      return [...areas, ...hexagons];
    }
    case "fields": {
      const layer = catalog.layers.find((l) => l.id === (asked.layer || filled.find(preferred)?.id));
      const own = also.filter((o) => o.role === null || o.role === layer?.role).map((o): [string, string] => [o.value, o.title]);
      return [...own, ...(layer?.fields ?? []).filter((f) => f.additive).map((f): [string, string] => [f.name, local(f.title)])];
    }
    case "listed":
      return [...optional, ...also.map((o): [string, string] => [o.value, o.title])];
    default:
      return null;
  }
}

/** The figures that are shown, those that answer the question first; one that can't be told says why. */
function figuresOf(result: Results, process: Process): HTMLElement {
  const declared = Object.entries(process.outputs.result.schema["x-figures"]).filter(([name, f]) => f.shown && name in result);
  const list = element("dl", { id: "analysis-figures" });
  for (const [name, figure] of declared.sort(([, a], [, b]) => Number(b.headline ?? false) - Number(a.headline ?? false))) {
    const reason = result.unknown?.[name];
    const shown = reason ? `${text("unknown")}: ${local(reason)}` : shownValue(result[name], figure);
    if (!shown) continue;
    const value = element("dd", { className: `${figure.headline ? "headline" : ""} ${reason ? "soft" : ""}`.trim() }, shown);
    list.append(element("dt", { title: figure.description ?? "" }, figure.title), value);
  }
  return list;
}

function tableOf(result: Results, process: Process): HTMLElement {
  const schema = process.outputs.result.schema;
  const shown = Object.entries(schema["x-columns"])
    .filter(([name, c]) => c.shown && result.features.some((f) => ["number", "string"].includes(typeof f.properties[name])))
    .slice(0, 4);
  const by = result.drawn_by ?? schema["x-legend"]?.column ?? "";
  const ranked = [...result.features].sort((a, b) => Number(b.properties[by] ?? 0) - Number(a.properties[by] ?? 0));
  const head = element("tr", {}, ...shown.map(([, c]) => element("th", { title: c.description ?? "" }, c.title)));
  const rows = ranked.slice(0, ROWS).map((f) => {
    const reasons = (f.properties.unknown ?? {}) as Record<string, { zh: string; en: string }>;
    const cell = ([name, c]: [string, Column]) =>
      element("td", { title: reasons[name] ? local(reasons[name]) : "" }, reasons[name] ? "?" : shownValue(f.properties[name], c));
    return element("tr", {}, ...shown.map(cell));
  });
  return element("table", {}, head, ...rows);
}
