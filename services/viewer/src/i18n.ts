import type { Language, Text } from "./api";
import { state } from "./state";

/** Every text a planner sees, in both languages. */
const TEXTS = {
  title: { zh: "城市信息模型", en: "City Information Model" },
  layers: { zh: "图层", en: "Layers" },
  colorByUse: { zh: "按用途着色", en: "Colour by use" },
  home: { zh: "全景", en: "Overview" },
  language: { zh: "English", en: "中文" },
  id: { zh: "标识", en: "Id" },
  dataset: { zh: "数据集", en: "Dataset" },
  surveyed: { zh: "测量日期", en: "Surveyed" },
  load: { zh: "入库批次", en: "Load" },
  undated: { zh: "未注明日期", en: "no date given" },
  analyses: { zh: "分析", en: "Analyses" },
  run: { zh: "运行", en: "Run" },
  stop: { zh: "停止", en: "Stop" },
  clear: { zh: "清除结果", en: "Clear the result" },
  pickPlace: { zh: "在图上选点", en: "Pick on the map" },
  choose: { zh: "请选择", en: "choose" },
  checkPassed: { zh: "校验通过", en: "check passed" },
  checkFailed: { zh: "校验未通过", en: "check failed" },
  cells: { zh: "级六边形", en: "hexagons, level" },
  figures: { zh: "指标", en: "Figures" },
  asOf: { zh: "数据时间", en: "as of" },
  close: { zh: "关闭", en: "Close" },
  east: { zh: "东", en: "E" },
  north: { zh: "北", en: "N" },
  height: { zh: "高程", en: "H" },
  move: { zh: "移动鼠标查看坐标，点击对象查看属性", en: "Move the mouse for coordinates, click for attributes" },
  unreadable: { zh: "无法读取属性", en: "The attributes can't be read" },
  old: {
    zh: "您的浏览器无法显示三维场景。请使用 Chrome、Edge 或 Firefox 100 以上版本，并启用 WebGL。",
    en: "This browser can't show the 3D scene. Chrome, Edge or Firefox from version 100, with WebGL, can.",
  },
  serverGone: { zh: "服务器没有回应，请稍后刷新。", en: "The server doesn't answer. Please reload in a while." },
} satisfies Record<string, Text>;

export const text = (key: keyof typeof TEXTS): string => TEXTS[key][state.language.value];
export const local = (both: Text): string => both[state.language.value];

export function firstLanguage(): Language {
  const asked = new URLSearchParams(location.search).get("lang") ?? navigator.language;
  return asked.toLowerCase().startsWith("en") ? "en" : "zh";
}
