import { lines } from "../chart";
import { shownTime } from "../clock";
import { element } from "../dom";
import type { Column, Process, Results } from "../generated";
import { local, text } from "../i18n";
import type { Coloured } from "../results";
import { state } from "../state";
import { asText, shownValue } from "../value";

const ROWS = 12;

/** A result, what it was computed by, and how it is drawn. */
export type Outcome = { process: Process; result: Results; drawn: Coloured };

/** The legend, figures, plots and rows of a result, whether its check passed, and what it was computed from. */
export function outcomeOf({ process, result, drawn }: Outcome, timeZone: string): HTMLElement[] {
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
  const since = shownTime(Date.parse(asText(result.computed_from.at)), timeZone, state.language.value);
  const notes = element("ul", { className: "soft", id: "analysis-notes" });
  for (const note of result.notes ?? []) notes.append(element("li", {}, local(note)));
  const plots = process.outputs.result.schema["x-plots"].flatMap((plot) => {
    const cells = result.features.map((f) => f.properties[plot.column]).filter((v): v is (number | null)[] => Array.isArray(v));
    return cells.length ? [lines(cells, plot.title, plot.ticks)] : [];
  });
  const dated = element("div", { className: "soft" }, `${text("asOf")} ${since}`);
  return [legend, figuresOf(result, process), ...plots, tableOf(result, process), check, ...(result.notes ? [notes] : []), dated];
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
