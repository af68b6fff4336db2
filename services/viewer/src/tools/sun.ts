import { lean } from "../api";
import { Observable } from "../state";
import type { Tool } from "./tool";

const shadows = new Observable(!lean);

export const sun: Tool = {
  id: "shadows",
  title: { zh: "阴影", en: "Shadows" },
  toggles: shadows,
  act: (_, widget) => {
    widget.scene.shadowMap.enabled = shadows.value;
    widget.scene.requestRender();
  },
};
