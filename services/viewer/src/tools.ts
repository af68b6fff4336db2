import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "./api";
import { element } from "./dom";
import { text } from "./i18n";
import { goHome } from "./scene";
import { state, type Observable } from "./state";

/** A tool is a function that makes its button. A new tool is one row in TOOLS. */
export type Tool = (catalog: Catalog, widget: CesiumWidget) => HTMLElement;

const home: Tool = (catalog, widget) => element("button", { onclick: () => goHome(widget, catalog) }, text("home"));

/** A button that is pressed while a state is on. */
const toggle =
  (id: string, title: Parameters<typeof text>[0], on: Observable<boolean>): Tool =>
  () => {
    const button = element("button", { id }, text(title));
    button.onclick = () => {
      on.value = !on.value;
    };
    on.subscribe((pressed) => button.setAttribute("aria-pressed", String(pressed)));
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

export const TOOLS: Tool[] = [
  home,
  toggle("color-by-use", "colorByUse", state.colorByUse),
  toggle("analyses", "analyses", state.analysing),
  language,
];
