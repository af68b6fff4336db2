import { CustomShader, LightingModel, VaryingType } from "@cesium/engine";

/** What isn't picked is drawn a little darker than its material, so that what is picked is lighter. */
export const UNPICKED = "#d8d8d8";
const LIFT = "1.18";

/** Faces whose colour or image came with the model have this roughness (tiles/gltf.py); they keep their look. */
const PAINTED = "material.roughness > 0.98";

const HASH = "float hash(float n) { return fract(sin(n * 12.9898) * 43758.5453); }";

/** Where a corner is along its wall, and how steep its face is: glTF is y-up. */
const ALONG = `
  void vertexMain(VertexInput vsInput, inout czm_modelVertexOutput vsOutput) {
    vec3 n = vsInput.attributes.normalMC;
    vec2 flat_n = normalize(n.xz + vec2(1e-6));
    v_along = dot(vsInput.attributes.positionMC.xz, vec2(-flat_n.y, flat_n.x));
    v_steep = n.y;
  }`;

const varyings = { v_along: VaryingType.FLOAT, v_steep: VaryingType.FLOAT };

/**
 * Façades: plaster in a few tones, storey bands, windows in bays, a darker base; roofs in tile or felt. One shader,
 * varied by the feature's number. From afar the windows fade to a tone, so that they don't flicker.
 */
export const FACADE = new CustomShader({
  lightingModel: LightingModel.PBR,
  varyings,
  vertexShaderText: ALONG,
  fragmentShaderText: `
    ${HASH}
    vec3 plaster(float pick) {
      if (pick < 0.30) return vec3(0.92, 0.88, 0.80);
      if (pick < 0.50) return vec3(0.86, 0.82, 0.75);
      if (pick < 0.66) return vec3(0.90, 0.89, 0.87);
      if (pick < 0.78) return vec3(0.80, 0.67, 0.55);
      if (pick < 0.88) return vec3(0.74, 0.53, 0.42);
      return vec3(0.78, 0.80, 0.82);
    }
    void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {
      if (${PAINTED}) {
        material.diffuse *= ${LIFT};
        return;
      }
      float id = float(fsInput.featureIds.featureId_0);
      float h = fsInput.attributes.height;
      float pick = hash(id + 3.0);
      bool roof = material.diffuse.r > material.diffuse.b * 1.6;
      if (roof) {
        vec3 tile = mix(vec3(0.42, 0.20, 0.15), vec3(0.31, 0.33, 0.36), step(0.45, pick));
        vec3 felt = mix(vec3(0.56, 0.55, 0.53), vec3(0.46, 0.47, 0.47), pick);
        vec3 roofing = mix(tile, felt, smoothstep(0.96, 0.985, v_steep));
        material.diffuse = roofing * (0.92 + 0.16 * hash(id + 11.0));
      } else {
        vec3 wall = plaster(hash(id + 7.0)) * (0.95 + 0.09 * hash(id + 5.0));
        float bay = 2.7 + 1.1 * hash(id + 1.0);
        float storey = 2.9 + 0.5 * hash(id + 9.0);
        float u = v_along / bay;
        float v = (h - 0.4) / storey;
        float blur = max(fwidth(u), fwidth(v));
        float near = 1.0 - smoothstep(0.12, 0.55, blur);
        float wide = 0.20 + 0.10 * hash(id + 2.0);
        float edge = blur * 0.7 + 0.012;
        float fu = abs(fract(u) - 0.5);
        float fv = abs(fract(v) - 0.56);
        float pane = (1.0 - smoothstep(0.5 - wide - edge, 0.5 - wide + edge, fu)) * (1.0 - smoothstep(0.25 - edge, 0.25 + edge, fv));
        float sill = smoothstep(0.90 - edge, 0.97, fract(v)) * 0.14;
        float which = hash(floor(u) * 3.1 + floor(v) * 7.7 + id);
        vec3 glass = mix(vec3(0.20, 0.25, 0.30), vec3(0.40, 0.47, 0.53), which);
        float share = 0.5 * (1.0 - 2.0 * wide) * 1.4;
        wall *= 1.0 - sill * near;
        wall = mix(mix(wall, glass, share * 0.55), mix(wall, glass, pane), near);
        wall *= mix(0.70, 1.0, smoothstep(0.0, 2.6, h));
        material.diffuse = wall;
      }
      material.diffuse *= ${LIFT};
      material.roughness = 0.92;
    }`,
});

/** Concrete, for what has bodies but isn't a building. */
export const CONCRETE = new CustomShader({
  lightingModel: LightingModel.PBR,
  varyings,
  vertexShaderText: ALONG,
  fragmentShaderText: `
    void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {
      if (${PAINTED}) {
        material.diffuse *= ${LIFT};
        return;
      }
      vec3 deck = vec3(0.50, 0.50, 0.49);
      vec3 side = vec3(0.80, 0.78, 0.74);
      material.diffuse = mix(side, deck, smoothstep(0.7, 0.95, v_steep));
      material.diffuse *= ${LIFT};
      material.roughness = 0.95;
    }`,
});

/** Leaves in slightly different greens, by the tree; lighter above, so that a crown is round without a texture. */
export const FOLIAGE = new CustomShader({
  lightingModel: LightingModel.PBR,
  fragmentShaderText: `
    ${HASH}
    void fragmentMain(FragmentInput fsInput, inout czm_modelMaterial material) {
      float id = float(fsInput.featureIds.instanceFeatureId_0);
      bool bark = material.diffuse.r > material.diffuse.g;
      vec3 tint = mix(vec3(0.90, 1.0, 0.86), vec3(1.25, 1.06, 0.92), hash(id + 1.0));
      if (!bark) material.diffuse *= 1.55 * tint * (0.62 + 0.62 * fsInput.attributes.height) * (0.9 + 0.2 * hash(id));
      material.roughness = 1.0;
    }`,
});
