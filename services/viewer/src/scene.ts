import {
  buildModuleUrl,
  Cartesian3,
  Cartographic,
  CesiumTerrainProvider,
  CesiumWidget,
  Color,
  DirectionalLight,
  EllipsoidTerrainProvider,
  HeadingPitchRange,
  Math as CesiumMath,
  Matrix4,
  Rectangle,
  Resource,
  ShadowMode,
  BoundingSphere,
  Transforms,
  type TerrainProvider,
} from "@cesium/engine";
import { dated, lean, type Catalog } from "./api";
import { state } from "./state";

// left out of the engine's type declarations
(buildModuleUrl as unknown as { setBaseUrl(url: string): void }).setBaseUrl("cesium/");

async function terrain(catalog: Catalog): Promise<TerrainProvider> {
  if (!catalog.terrain) return new EllipsoidTerrainProvider();
  const address = new Resource({ url: "terrain", queryParameters: state.at.value ? { at: state.at.value } : {} });
  return CesiumTerrainProvider.fromUrl(address, { requestVertexNormals: true });
}

/** A scene with ground, sky and haze; the lean one is what tests drive on a software GPU. */
export async function createScene(container: HTMLElement, catalog: Catalog): Promise<CesiumWidget> {
  const widget = new CesiumWidget(container, {
    baseLayer: false,
    terrainProvider: await terrain(catalog),
    skyBox: false,
    skyAtmosphere: lean ? false : undefined,
    requestRenderMode: true,
    maximumRenderTimeChange: Infinity,
    msaaSamples: lean ? 1 : 4,
    shadows: !lean,
    terrainShadows: lean ? ShadowMode.DISABLED : ShadowMode.RECEIVE_ONLY,
    creditContainer: document.createElement("div"), // no service that asks for a credit is used
    contextOptions: { webgl: { preserveDrawingBuffer: true, powerPreference: "high-performance" } },
  });
  const { scene } = widget;
  const { globe } = scene;
  globe.baseColor = Color.fromCssColorString("#d5d3c4");
  globe.depthTestAgainstTerrain = true;
  globe.enableLighting = true;
  globe.dynamicAtmosphereLighting = false;
  globe.showGroundAtmosphere = !lean;
  globe.maximumScreenSpaceError = 1.7;
  globe.lambertDiffuseMultiplier = 1.0;
  globe.vertexShadowDarkness = 0.5;
  scene.fog.enabled = !lean;
  scene.fog.density = 0.00022;
  scene.highDynamicRange = false;
  scene.backgroundColor = Color.fromCssColorString("#c9d6dc");
  if (scene.sun) scene.sun.show = false;
  if (scene.moon) scene.moon.show = false;
  if (scene.skyAtmosphere) {
    scene.skyAtmosphere.brightnessShift = 0.12;
    scene.skyAtmosphere.saturationShift = -0.12;
  }
  scene.light = morning(catalog);
  scene.shadowMap.softShadows = true;
  scene.shadowMap.size = 2048;
  scene.shadowMap.maximumDistance = 2600;
  scene.shadowMap.darkness = 0.52;
  scene.shadowMap.normalOffset = true;
  scene.screenSpaceCameraController.enableCollisionDetection = true;
  scene.screenSpaceCameraController.minimumZoomDistance = 3;
  goHome(widget, catalog);
  return widget;
}

/** Shows the ground of the moment; where none was surveyed yet, what is shown stays. */
export async function showGround(widget: CesiumWidget, catalog: Catalog): Promise<void> {
  if (catalog.terrain) widget.scene.terrainProvider = await terrain(catalog);
}

/** Light from the south-east, 40° high: it shows relief and façades, whatever the hour. */
function morning(catalog: Catalog): DirectionalLight {
  const [west, south, east, north] = catalog.box;
  const place = Cartesian3.fromDegrees((west + east) / 2, (south + north) / 2);
  const frame = Transforms.eastNorthUpToFixedFrame(place);
  const toSun = new Cartesian3(0.62, -0.52, 0.59);
  const direction = Cartesian3.negate(Matrix4.multiplyByPointAsVector(frame, toSun, new Cartesian3()), new Cartesian3());
  return new DirectionalLight({ direction: Cartesian3.normalize(direction, direction), intensity: 2.3 });
}

/** Looks at the whole of what has bodies, from the south, low enough to see hills behind. */
export function goHome(widget: CesiumWidget, catalog: Catalog): void {
  const ground = Rectangle.fromDegrees(...catalog.box);
  const sphere = BoundingSphere.fromRectangle3D(ground, undefined, catalog.groundHeightM);
  const range = Math.min(Math.max(sphere.radius * 1.2, 500), 60000);
  widget.camera.viewBoundingSphere(
    sphere,
    new HeadingPitchRange(CesiumMath.toRadians(12), CesiumMath.toRadians(-15), range),
  );
  widget.camera.lookAtTransform(Matrix4.IDENTITY);
  widget.scene.requestRender();
}

const CLOSE_M = 420;

/** Flies to a place and looks at it from the south. */
export function flyTo(widget: CesiumWidget, catalog: Catalog, lon: number, lat: number): void {
  const ground = widget.scene.globe.getHeight(Cartographic.fromDegrees(lon, lat)) ?? catalog.groundHeightM;
  const sphere = new BoundingSphere(Cartesian3.fromDegrees(lon, lat, ground), 1);
  widget.camera.flyToBoundingSphere(sphere, {
    offset: new HeadingPitchRange(0, CesiumMath.toRadians(-38), CLOSE_M),
    duration: lean ? 0 : 1.6,
  });
  widget.scene.requestRender();
}

export const datedTileset = (layer: string): string => dated(`3dtiles/${layer}/tileset.json`);
