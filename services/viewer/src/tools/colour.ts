import { state } from "../state";
import type { Tool } from "./tool";

export const colour: Tool = { id: "color-by-use", title: "colorByUse", toggles: state.colorByUse };
