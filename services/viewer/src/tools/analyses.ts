import { dismissJob, readJob, readProcess, readProcesses, readResults, startJob, type Catalog, type Input, type Process } from "../api";
import { element } from "../dom";
import { local, text } from "../i18n";
import { coloured, type Answer } from "../results";
import { state } from "../state";
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
  let answer: { process: Process; result: Answer } | null = null;
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
    if (answer?.process.id === chosen) outcome.replaceChildren(...outcomeOf({ process, result: answer.result }));
  };

  const clear = () => {
    answer = null;
    state.result.value = null;
    slot.querySelector("#analysis-outcome")?.replaceChildren();
  };

  const formOf = (process: Process): HTMLFormElement => {
    const form = element("form");
    const entries = Object.entries(process.inputs).filter(([, i]) => simple(i));
    for (const [name, input] of entries) form.append(fieldOf(name, input, form));
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

  const fieldOf = (name: string, input: Input, form: HTMLFormElement): HTMLElement => {
    const options = optionsOf(input, catalog, asked);
    const control = options ? element("select", { name }) : element("input", { name, type: numeric(input) ? "number" : "text" });
    if (control instanceof HTMLSelectElement)
      for (const [value, title] of options ?? []) control.append(element("option", { value }, title));
    else if (numeric(input)) control.step = "any";
    control.required = input.minOccurs > 0;
    control.value = asked[name] ?? String(input.schema.default ?? (options ? (options[0]?.[0] ?? "") : ""));
    if (input.schema["x-choices"] === "layers") control.onchange = () => void refill(form);
    const unit = input.schema["x-ogc-unit"];
    return element("label", { title: input.description ?? "" }, unit && unit !== "1" ? `${input.title} (${unit})` : input.title, control);
  };

  const remember = (form: HTMLFormElement) => {
    asked = Object.fromEntries([...new FormData(form)].map(([k, v]) => [k, String(v)]));
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
      answer = { process, result: await readResults(own) };
      outcome.replaceChildren(...outcomeOf(answer));
    } catch (fault) {
      outcome.replaceChildren(element("p", { className: "fault", role: "alert" }, (fault as Error).message));
    }
  };

  const outcomeOf = ({ process, result }: { process: Process; result: Answer }): HTMLElement[] => {
    const output = process.outputs.result.schema;
    const drawn = coloured(result, output["x-color-by"] ?? null, output["x-kinds"] ?? {}, local);
    state.result.value = drawn;
    const legend = element("div", { className: "legend", id: "analysis-legend" });
    for (const { color, label } of drawn.legend) {
      const mark = element("i");
      mark.style.background = color;
      legend.append(element("div", {}, mark, label));
    }
    const check = element("div", { className: "check soft", title: result.check.what }, text(result.check.passed ? "checkPassed" : "checkFailed"));
    check.dataset.passed = String(result.check.passed);
    const since = String(result.computed_from.at ?? "").slice(0, 19).replace("T", " ");
    return [legend, figuresOf(result, process), tableOf(result, process), check, element("div", { className: "soft" }, `${text("asOf")} ${since} UTC`)];
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

function optionsOf(input: Input, catalog: Catalog, asked: Record<string, string>): [string, string][] | null {
  const filled = catalog.layers.filter((l) => l.kind === "feature" && l.count > 0);
  switch (input.schema["x-choices"]) {
    case "layers":
      return filled.sort((a, b) => Number(b.role === "buildings") - Number(a.role === "buildings")).map((l) => [l.id, local(l.title)]);
    case "areas": {
      const areas = filled.filter((l) => l.geometry === "MultiPolygon" && !l.bodies).map((l): [string, string] => [l.id, local(l.title)]);
      const hexagons = HEXAGONS.map((n): [string, string] => [`h3:${n}`, state.language.value === "zh" ? `${n}${text("cells")}` : `${text("cells")} ${n}`]);
      return [...areas, ...hexagons];
    }
    case "fields": {
      const layer = catalog.layers.find((l) => l.id === (asked.layer || catalog.layers.find((c) => c.role === "buildings")?.id));
      const fields = (layer?.fields ?? []).filter((f) => f.type === "number" || f.type === "integer");
      const own: [string, string][] = [["count", state.language.value === "zh" ? "数量" : "Count"]];
      if (layer?.role === "buildings") own.unshift(["floor_area", state.language.value === "zh" ? "建筑面积 (m²)" : "Floor area (m²)"]);
      return [...own, ...fields.map((f): [string, string] => [f.name, local(f.title)])];
    }
    default:
      return null;
  }
}

const shownValue = (value: unknown): string => {
  if (typeof value === "number") return Math.abs(value) >= 100 ? Math.round(value).toLocaleString() : Number(value.toPrecision(4)).toString();
  if (value && typeof value === "object") {
    const { name, seconds, length_m } = value as { name?: string; seconds?: number; length_m?: number };
    return name === undefined ? "" : `${name} · ${Math.round((seconds ?? 0) / 6) / 10} min · ${Math.round(length_m ?? 0)} m`;
  }
  return typeof value === "boolean" ? (value ? "✓" : "✗") : String(value ?? "");
};

function figuresOf(result: Answer, process: Process): HTMLElement {
  const columns = process.outputs.result.schema["x-columns"];
  const list = element("dl", { id: "analysis-figures" });
  for (const [name, value] of Object.entries(result)) {
    if (["type", "features", "check", "computed_from"].includes(name) || value === null || Array.isArray(value)) continue;
    const shown = shownValue(value);
    const title = columns[name]?.title;
    if (shown && title) list.append(element("dt", {}, title), element("dd", {}, shown));
  }
  return list;
}

function tableOf(result: Answer, process: Process): HTMLElement {
  const columns = Object.entries(process.outputs.result.schema["x-columns"]).filter(([name]) =>
    result.features.some((f) => ["number", "string"].includes(typeof f.properties[name])),
  );
  const shown = columns.filter(([name]) => name !== "id" && name !== "total").slice(0, 4);
  const by = process.outputs.result.schema["x-color-by"];
  const ranked = [...result.features].sort((a, b) => Number(b.properties[by ?? ""] ?? 0) - Number(a.properties[by ?? ""] ?? 0));
  const head = element("tr", {}, ...shown.map(([, c]) => element("th", {}, c.title)));
  const rows = ranked.slice(0, ROWS).map((f) => element("tr", {}, ...shown.map(([name]) => element("td", {}, shownValue(f.properties[name])))));
  return element("table", {}, head, ...rows);
}
