import type { Catalog } from "../api";
import { dayOf, endOf, momentOf, shownTime } from "../clock";
import { element } from "../dom";
import { local, text } from "../i18n";
import { state } from "../state";
import type { Tool } from "./tool";

const STEP_MS = 1600;

/** The city's history: a slider over the moments at which something changed, and any day by hand. */
export const time: Tool = { id: "time", title: { zh: "时间", en: "Time" }, panel: { mount } };

function mount(slot: HTMLElement, catalog: Catalog): void {
  const stops = [...catalog.moments, null]; // null: now
  let timer = 0;
  const zone = catalog.city.timezone;
  const at = () => {
    const shown = state.at.value;
    if (!shown) return stops.length - 1;
    const moment = momentOf(shown, zone);
    return Math.max(0, stops.filter((s) => s !== null && momentOf(s, zone) <= moment).length - 1);
  };
  const show = () => {
    if (state.tool.value !== "time") return;
    const slider = element("input", { type: "range", id: "time-slider", min: "0", max: String(stops.length - 1), value: String(at()), ariaLabel: local(time.title) });
    slider.oninput = () => (state.at.value = stops[Number(slider.value)] ?? null);
    const day = element("input", { type: "date", id: "time-day", value: state.at.value ? dayOf(momentOf(state.at.value, zone), zone) : "", ariaLabel: text("day") });
    day.onchange = () => (state.at.value = day.value ? endOf(day.value) : null);
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
    const shown = state.at.value ? shownTime(momentOf(state.at.value, zone), zone, document.documentElement.lang) : text("now");
    slot.replaceChildren(element("h1", {}, local(time.title)), element("b", { id: "time-shown" }, shown), slider, day, element("div", { className: "buttons" }, play, now));
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
