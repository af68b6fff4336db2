import { goHome } from "../scene";
import type { Tool } from "./tool";

export const home: Tool = { id: "home", title: "home", act: (catalog, widget) => goHome(widget, catalog) };
