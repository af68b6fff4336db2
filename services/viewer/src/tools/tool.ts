import type { CesiumWidget } from "@cesium/engine";
import type { Catalog } from "../api";
import { element } from "../dom";
import type { Text } from "../generated";
import { local } from "../i18n";
import { state, type Observable } from "../state";

/**
 * A tool of the bar: one file each, with its own words, and a row in `index.ts`. It acts at once, switches something on and off, or opens a panel of its own.
 * The button's id is the tool's; a panel's is `<id>-panel` unless it says another.
 */
export type Tool = {
  id: string;
  title: Text; // of its button, in both languages
  act?: (catalog: Catalog, widget: CesiumWidget) => void;
  toggles?: Observable<boolean>;
  panel?: { id?: string; mount: (slot: HTMLElement, catalog: Catalog, widget: CesiumWidget) => void };
};

/** The tool's button in the language of the moment. */
export function buttonOf(tool: Tool, catalog: Catalog, widget: CesiumWidget): HTMLElement {
  const button = element("button", { id: tool.id, type: "button" }, local(tool.title));
  const { toggles } = tool;
  button.onclick = () => {
    if (tool.panel) state.tool.value = state.tool.value === tool.id ? null : tool.id;
    if (toggles) toggles.value = !toggles.value;
    tool.act?.(catalog, widget);
  };
  return button;
}

/** Whether a tool's button is pressed. */
export const pressed = (tool: Tool): boolean | null =>
  tool.panel ? state.tool.value === tool.id : tool.toggles ? tool.toggles.value : null;

/** Makes the panel of a tool, once; it shows while its tool is the one that is open. */
export function mountPanel(tool: Tool, catalog: Catalog, widget: CesiumWidget): void {
  if (!tool.panel) return;
  const slot = element("aside", { id: tool.panel.id ?? `${tool.id}-panel`, className: "card tool-panel", hidden: true });
  slot.setAttribute("aria-label", local(tool.title));
  document.body.append(slot);
  state.tool.subscribe((open) => (slot.hidden = open !== tool.id));
  tool.panel.mount(slot, catalog, widget);
}
