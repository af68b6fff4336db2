import {
  Cartesian3,
  type CesiumWidget,
  Color,
  Material,
  Matrix4,
  PointPrimitiveCollection,
  PolylineCollection,
  Transforms,
} from "@cesium/engine";
import { readPlace } from "../api";
import { element } from "../dom";
import type { Place } from "../generated";
import { local, text, type TextKey } from "../i18n";
import { state } from "../state";
import type { Tool } from "./tool";

type Mode = "distance" | "area" | "height";
type Corner = { at: Cartesian3; place: Place };
const MODES: Mode[] = ["distance", "area", "height"];
const NAMES: Record<Mode, TextKey> = { distance: "distance", area: "area", height: "heightDifference" };

/** Distances, areas and heights between places on the ground and on bodies; heights are the city's. */
export const measure: Tool = { id: "measure", title: { zh: "量测", en: "Measure" }, panel: { mount } };

function mount(slot: HTMLElement, _: unknown, widget: CesiumWidget): void {
  let mode: Mode = "distance";
  let corners: Corner[] = [];
  const drawing = new Drawing(widget);
  const show = () => {
    if (state.tool.value !== "measure") return;
    const modes = element("div", { className: "buttons", role: "group" });
    for (const m of MODES) {
      const button = element("button", { type: "button", id: `measure-${m}` }, text(NAMES[m]));
      button.setAttribute("aria-pressed", String(m === mode));
      button.onclick = () => {
        mode = m;
        restart();
      };
      modes.append(button);
    }
    const again = element("button", { type: "button" }, text("clear"));
    again.onclick = () => restart();
    slot.replaceChildren(
      element("h1", {}, local(measure.title)),
      modes,
      element("p", { className: "soft" }, text("measureHint")),
      results(mode, corners),
      element("div", { className: "buttons" }, again),
    );
  };
  const restart = () => {
    corners = [];
    drawing.show([], false);
    show();
  };
  const take = async (lon: number, lat: number, height: number) => {
    const place = await readPlace(lon, lat, height);
    if (mode === "height" && corners.length === 2) corners = [];
    corners = [...corners, { at: Cartesian3.fromDegrees(lon, lat, height), place }];
    drawing.show(corners.map((c) => c.at), mode === "area");
    show();
  };
  state.tool.subscribe((open) => {
    if (open === "measure") {
      state.placing.value = (lon, lat, height) => void take(lon, lat, height);
      show();
    } else {
      restart();
      if (state.placing.value) state.placing.value = null;
    }
  });
  state.language.subscribe(show);
}

function results(mode: Mode, corners: Corner[]): HTMLElement {
  const list = element("dl", { id: "measured" });
  list.dataset.corners = String(corners.length);
  const row = (title: TextKey, value: number, unit: string, name: string) => {
    const shown = element("dd", {}, `${value.toLocaleString(undefined, { maximumFractionDigits: 2 })} ${unit}`);
    shown.dataset.value = String(value);
    shown.id = `measured-${name}`;
    list.append(element("dt", {}, text(title)), shown);
  };
  if (mode === "distance" && corners.length > 1) {
    let [level, slope] = [0, 0];
    for (let i = 1; i < corners.length; i++) {
      const chord = Cartesian3.distance(corners[i - 1]!.at, corners[i]!.at);
      const rise = (corners[i]!.place.height ?? 0) - (corners[i - 1]!.place.height ?? 0);
      slope += chord;
      level += Math.sqrt(Math.max(chord * chord - rise * rise, 0));
    }
    row("levelDistance", level, "m", "level");
    row("slopeDistance", slope, "m", "slope");
  }
  if (mode === "area" && corners.length > 2) row("area", levelArea(corners.map((c) => c.at)), "m²", "area");
  if (mode === "height" && corners.length === 2) {
    const [low, high] = corners.map((c) => c.place.height ?? 0) as [number, number];
    row("heightDifference", high - low, "m", "height");
    row("fromHeight", low, "m", "from");
    row("toHeight", high, "m", "to");
  }
  return list;
}

/** The area over the plane that is level at the first corner, square metres. */
function levelArea(corners: Cartesian3[]): number {
  const toLocal = Matrix4.inverseTransformation(Transforms.eastNorthUpToFixedFrame(corners[0]!), new Matrix4());
  const flat = corners.map((c) => Matrix4.multiplyByPoint(toLocal, c, new Cartesian3()));
  const twice = flat.reduce((sum, a, i) => {
    const b = flat[(i + 1) % flat.length]!;
    return sum + a.x * b.y - b.x * a.y;
  }, 0);
  return Math.abs(twice) / 2;
}

/** The measured line, over everything that lies before it. */
class Drawing {
  readonly #points = new PointPrimitiveCollection();
  readonly #lines = new PolylineCollection();

  constructor(private readonly widget: CesiumWidget) {
    widget.scene.primitives.add(this.#lines);
    widget.scene.primitives.add(this.#points);
  }

  show(corners: Cartesian3[], closed: boolean): void {
    this.#points.removeAll();
    this.#lines.removeAll();
    for (const position of corners)
      this.#points.add({
        position,
        pixelSize: 9,
        color: Color.fromCssColorString("#f0a020"),
        outlineColor: Color.WHITE,
        outlineWidth: 2,
        disableDepthTestDistance: Number.POSITIVE_INFINITY,
      });
    if (corners.length > 1) {
      const material = Material.fromType("Color", { color: Color.fromCssColorString("#f0a020") });
      const ring = closed && corners.length > 2 ? [...corners, corners[0]!] : corners;
      this.#lines.add({ positions: ring, width: 3, material });
    }
    this.widget.scene.requestRender();
  }
}
