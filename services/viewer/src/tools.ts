import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "./api";
import { element } from "./dom";
import { text } from "./i18n";
import { goHome } from "./scene";
import { state } from "./state";

/** A tool is a function that makes its button. A new tool is one row in TOOLS. */
export type Tool = (catalog: Catalog, widget: CesiumWidget) => HTMLElement;

const home: Tool = (catalog, widget) => element("button", { onclick: () => goHome(widget, catalog) }, text("home"));

const colorByUse: Tool = () => {
  const button = element("button", { id: "color-by-use" }, text("colorByUse"));
  button.onclick = () => {
    state.colorByUse.value = !state.colorByUse.value;
  };
  state.colorByUse.subscribe((on) => button.setAttribute("aria-pressed", String(on)));
  return button;
};

const analyses: Tool = () => {
  const button = element("button", { id: "analyses" }, text("analyses"));
  button.onclick = () => {
    state.analysing.value = !state.analysing.value;
  };
  state.analysing.subscribe((on) => button.setAttribute("aria-pressed", String(on)));
  return button;
};

const language: Tool = () =>
  element(
    "button",
    {
      id: "language",
      onclick: () => {
        state.language.value = state.language.value === "zh" ? "en" : "zh";
      },
    },
    text("language"),
  );

export const TOOLS: Tool[] = [home, colorByUse, analyses, language];
