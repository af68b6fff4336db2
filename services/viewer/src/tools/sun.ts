import { lean } from "../api";
import { Observable } from "../state";
import type { Tool } from "./tool";

const shadows = new Observable(!lean);

export const sun: Tool = {
  id: "shadows",
  title: "shadows",
  toggles: shadows,
  act: (_, widget) => {
    widget.scene.shadowMap.enabled = shadows.value;
    widget.scene.requestRender();
  },
};
