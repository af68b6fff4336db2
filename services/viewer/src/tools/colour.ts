import { state } from "../state";
import type { Tool } from "./tool";

export const colour: Tool = { id: "color-by-use", title: { zh: "按用途着色", en: "Colour by use" }, toggles: state.colorByUse };
