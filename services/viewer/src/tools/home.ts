import { goHome } from "../scene";
import type { Tool } from "./tool";

export const home: Tool = { id: "home", title: { zh: "全景", en: "Overview" }, act: (catalog, widget) => goHome(widget, catalog) };
