import "./style.css";
import * as Cesium from "@cesium/engine";
import { lean, readCatalog } from "./api";
import { element } from "./dom";
import { followChanges } from "./events";
import { firstLanguage, text } from "./i18n";
import { drawLayers } from "./layers";
import { PANELS } from "./panels";
import { createScene, goHome } from "./scene";
import { followScene, readAddress, restoreState } from "./scene-url";
import { pickAt, selectOnClick } from "./selection";
import { state, toggleLayer } from "./state";
import { addTools } from "./tools/brought";

/** A sentence instead of a black page. */
function notice(sentence: string): void {
  document.body.append(element("div", { className: "notice" }, sentence));
}

async function start(): Promise<void> {
  state.language.value = firstLanguage();
  document.body.classList.toggle("lean", lean);
  if (!document.createElement("canvas").getContext("webgl2")) return notice(text("old"));
  let catalog;
  try {
    catalog = await readCatalog();
  } catch {
    return notice(text("serverGone"));
  }
  document.title = catalog.city.name;
  state.visible.value = new Set(catalog.layers.filter((l) => l.style.visible && !(lean && l.symbol)).map((l) => l.id));
  const asked = readAddress();
  restoreState(asked, catalog);
  const widget = await createScene(document.getElementById("scene") as HTMLElement, catalog);
  for (const panel of PANELS) panel.mount(document.getElementById(panel.slot) as HTMLElement, catalog, widget);
  void addTools(catalog.tools, catalog, widget);
  const layers = await drawLayers(catalog, widget);
  selectOnClick(widget, layers);
  followChanges(catalog, layers);
  followScene(asked, widget);
  state.language.subscribe((language) => (document.documentElement.lang = language));
  const shown = catalog;
  // what a developer's console and the tests drive the page with
  Object.assign(window, {
    cim: {
      Cesium,
      widget,
      catalog: shown,
      state,
      toggleLayer,
      goHome: () => goHome(widget, shown),
      pickAt: (x: number, y: number) => pickAt(widget, layers, new Cesium.Cartesian2(x, y)),
    },
  });
}

void start();
