import { state } from "../state";
import type { Tool } from "./tool";

export const language: Tool = {
  id: "language",
  title: { zh: "English", en: "中文" },
  act: () => (state.language.value = state.language.value === "zh" ? "en" : "zh"),
};
