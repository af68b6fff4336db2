import {
  dismissJob, readJob, readJobs, readPicture, readProcess, readProcesses, readResults, shareJob, startJob,
} from "../analysis/jobs";
import { outcomeOf, type Outcome } from "../analysis/outcome";
import { resultsList } from "../analysis/results-list";
import type { Catalog, Layer } from "../api";
import { element } from "../dom";
import type { Input, Process } from "../generated";
import { local, text } from "../i18n";
import { coloured, embodied, pictured } from "../results";
import { state } from "../state";
import { asText } from "../value";
import type { Tool } from "./tool";

const POLL_MS = 150;
const HEXAGONS = [8, 9, 10];

/** The registry of analyses as forms; a result is a coloured layer, its legend, figures, and what it was computed from. */
export const analyses: Tool = { id: "analyses", title: { zh: "分析", en: "Analyses" }, panel: { id: "analysis", mount } };

function mount(slot: HTMLElement, catalog: Catalog): void {
  let chosen = "";
  let asked: Record<string, string> = {};
  let job: string | null = null; // whose result is shown, or waited for
  let answer: Outcome | null = null;
  let shown = 0;
  let resultsOpen = false;

  const show = async () => {
    if (state.tool.value !== analyses.id) return;
    const turn = (shown += 1);
    const processes = await readProcesses();
    chosen ||= processes[0]?.id ?? "";
    const process = await readProcess(chosen);
    if (turn !== shown) return; // another language or analysis came first
    const choice = element("select", { id: "analysis-choice", ariaLabel: local(analyses.title) });
    for (const p of processes) choice.append(element("option", { value: p.id, selected: p.id === chosen }, p.title));
    choice.onchange = () => {
      chosen = choice.value;
      asked = {};
      clear();
      void show();
    };
    const form = formOf(process);
    const outcome = element("div", { id: "analysis-outcome" });
    slot.replaceChildren(choice, element("p", { className: "soft" }, process.description), form, results(), outcome);
    if (answer?.process.id === chosen) {
      answer = { ...answer, process };
      outcome.replaceChildren(...outcomeOf(answer, catalog.city.timezone));
    }
    void list();
  };

  const clear = () => {
    answer = job = null;
    state.result.value = state.job.value = null;
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
    const inputs = Object.fromEntries(
      Object.entries(asked)
        .filter(([, v]) => v !== "")
        .map(([k, v]) => [k, numeric(process.inputs[k]!) ? Number(v) : v]),
    );
    try {
      job = await startJob(process.id, inputs);
      await showJob(job, process);
    } catch (fault) {
      tell(fault);
    }
    void list();
  };

  const tell = (fault: unknown) => {
    const sentence = fault instanceof Error ? fault.message : String(fault);
    slot.querySelector("#analysis-outcome")?.replaceChildren(element("p", { className: "fault", role: "alert" }, sentence));
  };

  /** Waits for a job, and shows its result on the map and in figures. */
  const showJob = async (id: string, process: Process) => {
    const bar = element("progress", { max: 100, value: 0 });
    const stop = element("button", { type: "button", id: "analysis-stop" }, text("stop"));
    stop.onclick = () => void dismissJob(id).catch(tell);
    slot.querySelector("#analysis-outcome")?.replaceChildren(bar, element("div", { className: "buttons" }, stop));
    for (;;) {
      const status = await readJob(id);
      if (job !== id) return; // another run came first
      bar.value = status.progress;
      if (status.status === "successful") break;
      if (status.status === "failed" || status.status === "dismissed") throw new Error(status.message || status.status);
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    const result = await readResults(id);
    const look = process.outputs.result.schema;
    const picture = result.raster ? await readPicture(id) : null;
    if (job !== id) return;
    const drawn = picture ? pictured(look, picture) : result.bodies?.count ? embodied(result, look, id) : coloured(result, look);
    answer = { process, result, drawn };
    [state.result.value, state.job.value] = [answer.drawn, id];
    slot.querySelector("#analysis-outcome")?.replaceChildren(...outcomeOf(answer, catalog.city.timezone));
  };

  /** Shows a result again: its analysis, with what was asked for in the form. */
  const reopen = async (id: string) => {
    answer = null;
    job = id;
    try {
      const { processID, inputs } = await readJob(id);
      chosen = processID;
      asked = Object.fromEntries(Object.entries(inputs ?? {}).map(([name, value]) => [name, asText(value)]));
      await show();
      await showJob(id, await readProcess(processID));
    } catch (fault) {
      if (job === id) clear();
      tell(fault);
    }
    void list();
  };

  const results = (): HTMLElement =>
    element("details", { id: "analysis-results", open: resultsOpen, ontoggle: (event) => (resultsOpen = (event.target as HTMLDetailsElement).open) },
      element("summary", {}, text("results")), keyField(), element("div"));

  const keyField = () => {
    const input = element("input", { id: "analysis-key", type: "password", value: state.key.value, autocomplete: "off" });
    input.onchange = () => (state.key.value = input.value.trim());
    return element("label", {}, text("key"), input);
  };

  const called = (value: unknown): string => {
    const layer = catalog.layers.find((l) => l.id === value);
    return layer ? local(layer.title) : asText(value);
  };

  /** Lists the results anew. */
  const list = async () => {
    const place = slot.querySelector("#analysis-results > div");
    if (!place) return;
    const after = (change: Promise<unknown>) => void change.catch(tell).then(list);
    const jobs = await readJobs().catch((fault: unknown) => (tell(fault), []));
    place.replaceChildren(
      resultsList(jobs, { opened: state.job.value, timeZone: catalog.city.timezone, called }, {
        open: (chosenJob) => void reopen(chosenJob.jobID),
        share: (shared, on) => after(shareJob(shared.jobID, on)),
        remove: (gone) => {
          if (gone.jobID === job) clear();
          after(dismissJob(gone.jobID));
        },
      }),
    );
  };

  state.tool.subscribe((open) => {
    if (open !== analyses.id) clear();
    void show();
  });
  state.language.subscribe(() => void show());
  state.key.subscribe(() => void list());
  state.job.subscribe((asked) => {
    if (asked && asked !== job) void reopen(asked);
  });
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
