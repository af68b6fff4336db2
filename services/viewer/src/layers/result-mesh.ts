import { Cartesian3, CustomShader, Model, Transforms, type CesiumWidget } from "@cesium/engine";
import { readMesh } from "../analysis/jobs";
import { state } from "../state";

const FORWARD_IS_EAST = 0; // Cesium's Axis.X: the mesh is east, north and up, and isn't to be turned

/** A result's body is often that of an object which is drawn as well: each face lies a hand's breadth outside of that. */
const OUTSIDE = new CustomShader({
  vertexShaderText: `
    void vertexMain(VertexInput vsInput, inout czm_modelVertexOutput vsOutput) {
      vsOutput.positionMC += 0.1 * vsInput.attributes.normalMC;
    }`,
});

/** Draws the bodies that an analysis gave, in the colours of its legend, where they stand. */
export function resultMesh(widget: CesiumWidget): void {
  const { scene } = widget;
  let shown: Model | null = null;
  let turn = 0;
  state.result.subscribe((result) => {
    const own = (turn += 1);
    if (shown) scene.primitives.remove(shown);
    shown = null;
    scene.requestRender();
    if (!result?.mesh) return;
    void read(result.mesh).then((model) => {
      if (own !== turn) return void model.destroy(); // another result came first
      shown = scene.primitives.add(model) as Model;
      const stop = scene.postRender.addEventListener(() => {
        if (own !== turn || model.ready) stop();
        scene.requestRender();
      });
      scene.requestRender();
    });
  });
}

async function read(job: string): Promise<Model> {
  const { glb, place } = await readMesh(job);
  const url = URL.createObjectURL(glb); // the bytes that the place belongs to, not asked for again
  const model = await Model.fromGltfAsync({
    url,
    modelMatrix: Transforms.eastNorthUpToFixedFrame(Cartesian3.fromDegrees(...place)),
    forwardAxis: FORWARD_IS_EAST,
    customShader: OUTSIDE,
  });
  URL.revokeObjectURL(url);
  return model;
}
