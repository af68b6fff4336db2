import * as Cesium from "@cesium/engine";
import { dated, type Catalog } from "../api";
import { element } from "../dom";
import { local, text } from "../i18n";
import { Observable, state, toggleLayer } from "../state";
import { tools } from ".";
import { mountPanel, type Tool } from "./tool";

/** What a tool of another package is given of the page: the page's modules have no address to import them from. */
export const PAGE = { Cesium, Observable, dated, element, local, state, text, toggleLayer };

/** The default export of a package's module. */
export type MakeTool = (page: typeof PAGE) => Tool;

/**
 * Adds the tools of other packages after the page's own, in the order of their addresses, each when it has come.
 * One that is broken is a warning on the console; the page and the others go on.
 */
export async function addTools(addresses: readonly string[], catalog: Catalog, widget: Cesium.CesiumWidget): Promise<void> {
  const ofPage = tools.value;
  const brought: (Tool | undefined)[] = addresses.map(() => undefined);
  const add = async (address: string, position: number) => {
    try {
      const module = (await import(/* @vite-ignore */ new URL(address, document.baseURI).href)) as { default: MakeTool };
      const tool = module.default(PAGE);
      check(tool);
      mountPanel(tool, catalog, widget);
      brought[position] = tool;
      tools.value = [...ofPage, ...brought.filter((one) => one !== undefined)];
    } catch (fault) {
      console.warn(`The tool ${address} is left out:`, fault);
    }
  };
  await Promise.all(addresses.map(add));
}

/** Refuses what the bar couldn't show: the compiler hasn't seen it. */
function check({ id, title, act, panel, toggles }: Tool): void {
  if (!/^[a-z][a-z-]*$/.test(id)) throw new Error(`its id '${id}' isn't small letters and hyphens`);
  if (tools.value.some((tool) => tool.id === id) || document.getElementById(id)) throw new Error(`the id '${id}' is taken`);
  if (![title.zh, title.en].every((words) => typeof words === "string" && words)) throw new Error("its title isn't in both languages");
  if (!(act ?? panel ?? toggles)) throw new Error("it does nothing: no act, panel or toggles");
  if (toggles && !(toggles instanceof Observable)) throw new Error("what it toggles is no Observable of the page");
}
