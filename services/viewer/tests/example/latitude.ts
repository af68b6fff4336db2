import { element } from "../../src/dom";
import { local, text } from "../../src/i18n";
import { state } from "../../src/state";
import type { Tool } from "../../src/tools/tool";

/** Says how far north the city reaches. */
export const latitude: Tool = {
  id: "latitude",
  title: { zh: "纬度", en: "Latitude" },
  panel: {
    mount: (slot, catalog) => {
      const show = () => {
        if (state.tool.value !== "latitude") return;
        const [, south, , north] = catalog.box;
        slot.replaceChildren(element("h1", {}, local(latitude.title)), element("p", {}, `${text("north")} ${south}° – ${north}°`));
      };
      state.tool.subscribe(show);
      state.language.subscribe(show);
    },
  },
};
