import { type Cesium3DTileFeature, type CesiumWidget, Color, PostProcessStageLibrary } from "@cesium/engine";
import { lean } from "../api";

export type Outline = { show(feature: Cesium3DTileFeature | null): void };
let made: Outline | null = null;

/** The line around what is picked; one for the page, none in the lean mode. */
export function outlineOf(widget: CesiumWidget): Outline {
  if (lean) return { show: () => undefined };
  if (made) return made;
  const edge = PostProcessStageLibrary.createEdgeDetectionStage();
  Object.assign(edge.uniforms as object, { color: Color.fromCssColorString("#f0a020"), length: 0.01 });
  const stage = PostProcessStageLibrary.createSilhouetteStage([edge]);
  stage.enabled = false;
  widget.scene.postProcessStages.add(stage);
  made = {
    show: (feature) => {
      edge.selected = feature ? [feature] : [];
      stage.enabled = feature !== null;
    },
  };
  return made;
}
