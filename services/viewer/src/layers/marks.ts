import {
  Billboard,
  BillboardCollection,
  Cartesian2,
  Cartesian3,
  Color,
  DistanceDisplayCondition,
  HeightReference,
  HorizontalOrigin,
  Label,
  LabelCollection,
  LabelStyle,
  VerticalOrigin,
} from "@cesium/engine";
import { readMarks } from "../api";
import type { Layer, Mark } from "../generated";
import type { Mark as Placed } from "./declutter";
import type { Canvas, LayerRenderer } from "./renderer";

const PX_PER_CHARACTER = 13;

/** A round sign in the layer's colour with its glyph. */
function sign(layer: Layer): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 44;
  const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
  pen.beginPath();
  pen.arc(22, 22, 18, 0, 2 * Math.PI);
  pen.fillStyle = layer.style.fill ?? "#555";
  pen.fill();
  pen.lineWidth = 3;
  pen.strokeStyle = "#fff";
  pen.stroke();
  pen.fillStyle = "#fff";
  pen.font = "600 20px 'Noto Sans CJK SC', 'Noto Sans SC', sans-serif";
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(layer.style.glyph, 22, 23);
  return canvas;
}

/** Point features as signs that stand on the ground, and the names of streets, waters and districts. */
export function marks(layer: Layer, { widget, declutter }: Canvas): LayerRenderer {
  const { scene } = widget;
  const isPoint = layer.geometry === "Point";
  const billboards = isPoint ? new BillboardCollection({ scene }) : null;
  if (billboards) scene.primitives.add(billboards);
  const labels = new LabelCollection({ scene });
  scene.primitives.add(labels);
  const image = isPoint ? sign(layer) : null;
  const add = (mark: Mark): Placed => {
    const position = Cartesian3.fromDegrees(mark.lon, mark.lat);
    const id = { layer: layer.id, id: mark.id };
    const sign = billboards?.add({
      position,
      id,
      image: image as HTMLCanvasElement,
      scale: 0.5,
      heightReference: HeightReference.CLAMP_TO_GROUND,
      verticalOrigin: VerticalOrigin.BOTTOM,
      disableDepthTestDistance: 400,
      distanceDisplayCondition: new DistanceDisplayCondition(0, layer.style.icon_from_m),
    });
    let label: Label | null = null;
    if (mark.text)
      label = labels.add({
        position,
        id,
        text: mark.text,
        font: "500 26px 'Noto Sans CJK SC', 'Noto Sans SC', 'Microsoft YaHei', sans-serif",
        scale: 0.5,
        fillColor: Color.fromCssColorString(layer.style.label_color),
        outlineColor: Color.fromCssColorString("#ffffffe6"),
        outlineWidth: 7,
        style: LabelStyle.FILL_AND_OUTLINE,
        heightReference: HeightReference.CLAMP_TO_GROUND,
        horizontalOrigin: HorizontalOrigin.CENTER,
        verticalOrigin: VerticalOrigin.BOTTOM,
        pixelOffset: new Cartesian2(0, isPoint ? -26 : 0),
        disableDepthTestDistance: 400,
        distanceDisplayCondition: new DistanceDisplayCondition(0, layer.style.label_from_m),
      });
    const width = [...(mark.text ?? "")].reduce((sum, c) => sum + (c.charCodeAt(0) > 255 ? PX_PER_CHARACTER : PX_PER_CHARACTER / 2), 6);
    return {
      sign: sign ?? null,
      label,
      at: position,
      reach: { sign: layer.style.icon_from_m, label: layer.style.label_from_m },
      rank: layer.style.rank,
      width,
    };
  };
  let turn = 0;
  const follow = async () => {
    const asked = (turn += 1);
    const wanted = layer.count > 0 && (isPoint || !layer.bodies); // the name of a body is beside it when it is picked
    const marked = wanted ? await readMarks(layer.id) : [];
    if (asked !== turn) return; // another moment was asked for since
    billboards?.removeAll();
    labels.removeAll();
    declutter.set(layer.id, marked.map(add));
    scene.requestRender();
  };
  return {
    follow,
    show: (visible) => {
      if (billboards) billboards.show = visible;
      labels.show = visible;
      declutter.show(layer.id, visible);
    },
    pick: (picked) => {
      const { primitive, id } = (picked ?? {}) as { primitive?: unknown; id?: { layer: string; id: string } };
      const ours = primitive instanceof Billboard || primitive instanceof Label;
      return ours && id?.layer === layer.id ? id : null;
    },
  };
}
