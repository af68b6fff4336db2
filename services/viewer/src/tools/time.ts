import type { Catalog } from "../api";
import { element } from "../dom";
import { text } from "../i18n";
import { state } from "../state";
import type { Tool } from "./tool";

const STEP_MS = 1600;

/** The city's history: a slider over the moments at which something changed, and any day by hand. */
export const time: Tool = { id: "time", title: "time", panel: { mount } };

function mount(slot: HTMLElement, catalog: Catalog): void {
  const stops = [...catalog.moments, null]; // null: now
  let timer = 0;
  const at = () => {
    const shown = state.at.value;
    if (!shown) return stops.length - 1;
    const moment = Date.parse(shown);
    return Math.max(0, stops.filter((s) => s !== null && Date.parse(s) <= moment).length - 1);
  };
  const show = () => {
    if (state.tool.value !== "time") return;
    const slider = element("input", { type: "range", id: "time-slider", min: "0", max: String(stops.length - 1), value: String(at()), ariaLabel: text("time") });
    slider.oninput = () => (state.at.value = stops[Number(slider.value)] ?? null);
    const day = element("input", { type: "date", id: "time-day", value: state.at.value?.slice(0, 10) ?? "", ariaLabel: text("day") });
    day.onchange = () => (state.at.value = day.value ? `${day.value}T23:59:59Z` : null);
    const play = element("button", { type: "button", id: "time-play" }, timer ? text("stop") : text("play"));
    play.onclick = () => {
      if (timer) halt();
      else {
        let i = at() >= stops.length - 1 ? 0 : at() + 1;
        timer = window.setInterval(() => {
          state.at.value = stops[i] ?? null;
          if ((i += 1) >= stops.length) halt();
        }, STEP_MS);
      }
      show();
    };
    const now = element("button", { type: "button", id: "time-now" }, text("now"));
    now.onclick = () => (state.at.value = null);
    const shown = state.at.value ? new Date(state.at.value).toLocaleString(document.documentElement.lang) : text("now");
    slot.replaceChildren(element("h1", {}, text("time")), element("b", { id: "time-shown" }, shown), slider, day, element("div", { className: "buttons" }, play, now));
  };
  const halt = () => {
    clearInterval(timer);
    timer = 0;
    show();
  };
  state.tool.subscribe(show);
  state.language.subscribe(show);
  state.at.subscribe(show);
}
