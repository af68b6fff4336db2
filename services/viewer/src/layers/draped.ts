import { VectorTile, type VectorTileFeature } from "@mapbox/vector-tile";
import { Event, ImageryLayer, WebMercatorTilingScheme, type CesiumWidget, type ImageryProvider } from "@cesium/engine";
import { PbfReader } from "pbf";
import { dated, UNLISTED, type Catalog } from "../api";
import type { Layer } from "../generated";
import type { Coloured } from "../results";
import { state } from "../state";
import type { LayerRenderer } from "./renderer";

const SIZE = 512; // pixels of a drawn tile
const DEEPEST = 16; // vector tiles below this are cut from it
const GROUND = "#d9d6c8";
const EARTH_M = 40_075_016.7;

type Feature = { id: string; properties: Record<string, string | number | boolean>; rings: { x: number; y: number }[][]; kind: number };
type Decoded = { extent: number; features: Feature[] };

/** Vector tiles of our layers, decoded once however many drawn tiles show them. */
class Tiles {
  #cache = new Map<string, Promise<Decoded>>();

  get(layer: string, z: number, x: number, y: number): Promise<Decoded> {
    const key = `${layer}/${z}/${x}/${y}`;
    let tile = this.#cache.get(key);
    if (!tile) {
      tile = this.#read(layer, key);
      this.#cache.set(key, tile);
      tile.catch(() => this.#cache.delete(key));
      if (this.#cache.size > 1500) this.#cache.delete(this.#cache.keys().next().value as string);
    }
    return tile;
  }

  /** Forgets a layer's tiles: they are asked for anew. */
  forget(layer: string): void {
    for (const key of this.#cache.keys()) if (key.startsWith(`${layer}/`)) this.#cache.delete(key);
  }

  async #read(layer: string, key: string): Promise<Decoded> {
    const answer = await fetch(dated(`tiles/${key}.mvt`));
    if (!answer.ok) throw new Error(`${key}: ${answer.status}`);
    const content = new VectorTile(new PbfReader(new Uint8Array(await answer.arrayBuffer()))).layers[layer];
    if (!content) return { extent: 4096, features: [] };
    const features = Array.from({ length: content.length }, (_, i) => read(content.feature(i)));
    return { extent: content.extent, features };
  }
}

function read(feature: VectorTileFeature): Feature {
  const properties = feature.properties;
  return { id: String(properties.id), properties, rings: feature.loadGeometry(), kind: feature.type };
}

/** The 2D layers as one image draped on the ground, drawn in the catalogue's order. */
export class Drape {
  readonly #layers: Layer[];
  readonly #tiles = new Tiles();
  #waiting = false;
  #shown: ImageryLayer | null = null;

  constructor(
    private readonly catalog: Catalog,
    private readonly widget: CesiumWidget,
  ) {
    const flat = catalog.layers.filter((l) => l.drawing === "features" && l.geometry !== "Point");
    this.#layers = flat.sort((a, b) => a.order - b.order);
    state.visible.subscribe((visible) => this.#redraw(visible));
    state.result.subscribe(() => this.#redraw(state.visible.value));
    state.opacity.subscribe(() => this.#redraw(state.visible.value));
  }

  /** Draws a layer's part of the image. */
  rendererOf(layer: Layer): LayerRenderer {
    return {
      show: () => undefined, // the image is drawn anew when what is visible changes
      follow: () => {
        this.#tiles.forget(layer.id);
        return this.#redrawn();
      },
    };
  }

  /** Draws the image anew, once for all layers that ask for it in one go. */
  async #redrawn(): Promise<void> {
    if (this.#waiting) return;
    this.#waiting = true;
    await Promise.resolve();
    this.#waiting = false;
    this.#redraw(state.visible.value);
  }

  /** What is drawn of a layer at the moment: what has bodies isn't draped beside them. */
  #drawn(layer: Layer, visible: ReadonlySet<string>): boolean {
    return visible.has(layer.id) && layer.count > 0 && !layer.bodies;
  }

  #redraw(visible: ReadonlySet<string>): void {
    const drawn = this.#layers.filter((l) => this.#drawn(l, visible));
    const { imageryLayers } = this.widget.scene;
    const next = new ImageryLayer(provider(drawn, this.#tiles, this.catalog, state.result.value));
    const before = this.#shown;
    imageryLayers.add(next);
    this.#shown = next;
    if (before) {
      // the old image stays until the new one covers it
      const drop = () => {
        if (imageryLayers.contains(before)) imageryLayers.remove(before);
        this.widget.scene.requestRender();
      };
      const stop = this.widget.scene.globe.tileLoadProgressEvent.addEventListener((waiting: number) => {
        if (waiting === 0) {
          stop();
          drop();
        }
      });
      setTimeout(() => {
        stop();
        drop();
      }, 4000);
    }
    this.widget.scene.requestRender();
  }

  /** The topmost visible object at a place, in radians. */
  async pick(lon: number, lat: number, visible: ReadonlySet<string>): Promise<{ layer: string; id: string } | null> {
    const scale = 2 ** DEEPEST;
    const px = ((lon / Math.PI + 1) / 2) * scale;
    const py = ((1 - Math.log(Math.tan(lat) + 1 / Math.cos(lat)) / Math.PI) / 2) * scale;
    const [x, y] = [Math.floor(px), Math.floor(py)];
    const metres = (EARTH_M * Math.cos(lat)) / scale;
    for (const layer of [...this.#layers].reverse()) {
      if (!this.#drawn(layer, visible)) continue;
      const tile = await this.#tiles.get(layer.id, DEEPEST, x, y);
      const point = { x: (px - x) * tile.extent, y: (py - y) * tile.extent };
      const perMetre = tile.extent / metres;
      const hit = tile.features
        .map((f) => ({ id: f.id, away: distanceTo(f, point, layer, perMetre) }))
        .reduce((best, next) => (next.away < best.away ? next : best), { id: "", away: Infinity });
      if (hit.away < Infinity) return { layer: layer.id, id: hit.id };
    }
    return null;
  }
}

/** How far a place is from a feature that it hits, in units of the tile; infinite: it doesn't. */
function distanceTo(feature: Feature, p: { x: number; y: number }, layer: Layer, perMetre: number): number {
  if (feature.kind === 3) return inside(feature.rings, p) ? 0 : Infinity;
  const reach = (widthOf(feature, layer) / 2 + 1.5) * perMetre;
  let least = Infinity;
  for (const line of feature.rings) for (let i = 1; i < line.length; i++) least = Math.min(least, distance(p, line[i - 1]!, line[i]!));
  return least <= reach ? least : Infinity;
}

function inside(rings: Feature["rings"], p: { x: number; y: number }): boolean {
  let odd = false;
  for (const ring of rings)
    for (let i = 0, j = ring.length - 1; i < ring.length; j = i++) {
      const [a, b] = [ring[i]!, ring[j]!];
      if (a.y > p.y !== b.y > p.y && p.x < ((b.x - a.x) * (p.y - a.y)) / (b.y - a.y) + a.x) odd = !odd;
    }
  return odd;
}

function distance(p: { x: number; y: number }, a: { x: number; y: number }, b: { x: number; y: number }): number {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const t = Math.max(0, Math.min(1, ((p.x - a.x) * dx + (p.y - a.y) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

/** Width on the ground, metres, of a line feature: its width field, else the layer's default. */
function widthOf(feature: Feature, layer: Layer): number {
  const field = layer.fields.find((f) => f.role === "width");
  return Number(field && feature.properties[field.name]) || layer.style.default_width_m;
}

function provider(layers: Layer[], tiles: Tiles, catalog: Catalog, result: Coloured | null): ImageryProvider {
  const tilingScheme = new WebMercatorTilingScheme();
  const opacity = state.opacity.value;
  const plain = {
    tileWidth: SIZE,
    tileHeight: SIZE,
    minimumLevel: 0,
    maximumLevel: 19,
    tilingScheme,
    rectangle: tilingScheme.rectangle,
    tileDiscardPolicy: undefined,
    errorEvent: new Event(),
    credit: undefined,
    proxy: undefined,
    hasAlphaChannel: false,
    getTileCredits: () => undefined,
    pickFeatures: () => undefined,
    requestImage: async (x: number, y: number, level: number) => {
      const up = Math.max(0, level - DEEPEST);
      const [z, tx, ty] = [level - up, x >> up, y >> up];
      const contents =
        z < 6 ? [] : await Promise.all(layers.map((l) => tiles.get(l.id, z, tx, ty).catch(() => ({ extent: 4096, features: [] }))));
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = SIZE;
      const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
      pen.fillStyle = GROUND;
      pen.fillRect(0, 0, SIZE, SIZE);
      const latitude = Math.atan(Math.sinh(Math.PI * (1 - (2 * (y + 0.5)) / 2 ** level)));
      const pixelsPerMetre = (SIZE * 2 ** level) / (EARTH_M * Math.cos(latitude));
      contents.forEach((content, i) => {
        const scale = (SIZE * 2 ** up) / content.extent;
        const shift: [number, number] = [-(x - (tx << up)) * SIZE, -(y - (ty << up)) * SIZE];
        pen.globalAlpha = opacity[layers[i]!.id] ?? 1;
        draw(pen, layers[i]!, content, catalog, { scale, shift, pixelsPerMetre });
      });
      pen.globalAlpha = 1;
      if (result) drawResult(pen, result, { scale: SIZE * 2 ** level, shift: [-x * SIZE, -y * SIZE], pixelsPerMetre });
      return canvas;
    },
  };
  return plain as unknown as ImageryProvider;
}

/** The rows of an analysis, in their colours, over everything else that is draped. */
function drawResult(pen: CanvasRenderingContext2D, result: Coloured, frame: Frame): void {
  pen.lineJoin = pen.lineCap = "round";
  if (result.picture) {
    const { image, low, high } = result.picture;
    const [x, y] = [low.x * frame.scale + frame.shift[0], low.y * frame.scale + frame.shift[1]];
    pen.imageSmoothingEnabled = false;
    pen.drawImage(image, x, y, (high.x - low.x) * frame.scale, (high.y - low.y) * frame.scale);
  }
  for (const shape of result.shapes) {
    trace(pen, shape, frame, shape.kind === 3);
    pen.strokeStyle = shape.color;
    pen.fillStyle = `${shape.color}a6`;
    if (shape.kind === 3) pen.fill("evenodd");
    pen.lineWidth = shape.kind === 3 ? 2 : Math.max(4, 7 * frame.pixelsPerMetre);
    pen.stroke();
  }
}

const GRAIN_PX = 256;
const grains = new Map<string, CanvasPattern>();

/** A fill that isn't quite even, as land isn't: specks a little lighter and darker, the same on every tile. */
function grained(pen: CanvasRenderingContext2D, fill: string): CanvasPattern | string {
  const known = grains.get(fill);
  if (known) return known;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = GRAIN_PX;
  const speck = canvas.getContext("2d") as CanvasRenderingContext2D;
  speck.fillStyle = fill;
  speck.fillRect(0, 0, GRAIN_PX, GRAIN_PX);
  let seed = 7;
  const next = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  for (let i = 0; i < 900; i++) {
    const [x, y, r] = [next() * GRAIN_PX, next() * GRAIN_PX, 1.5 + 5 * next() ** 2];
    speck.fillStyle = next() < 0.6 ? "rgba(30,40,10,0.055)" : "rgba(255,255,235,0.07)";
    for (const dx of [-GRAIN_PX, 0, GRAIN_PX])
      for (const dy of [-GRAIN_PX, 0, GRAIN_PX]) {
        speck.beginPath();
        speck.ellipse(x + dx, y + dy, r, r * 0.7, 0, 0, 2 * Math.PI);
        speck.fill();
      }
  }
  const pattern = pen.createPattern(canvas, "repeat");
  if (pattern) grains.set(fill, pattern);
  return pattern ?? fill;
}

type Frame = { scale: number; shift: [number, number]; pixelsPerMetre: number };

function trace(pen: CanvasRenderingContext2D, feature: { rings: Feature["rings"] }, frame: Frame, closed: boolean): void {
  pen.beginPath();
  for (const ring of feature.rings) {
    ring.forEach((p, i) => {
      const [px, py] = [p.x * frame.scale + frame.shift[0], p.y * frame.scale + frame.shift[1]];
      if (i) pen.lineTo(px, py);
      else pen.moveTo(px, py);
    });
    if (closed) pen.closePath();
  }
}

function draw(pen: CanvasRenderingContext2D, layer: Layer, content: Decoded, catalog: Catalog, frame: Frame): void {
  const { style } = layer;
  const field = layer.fields.find((f) => f.name === style.color_by);
  const codes = field?.codes ? (catalog.codeLists[field.codes] ?? []) : [];
  const colors = new Map(codes.map((c) => [c.value, c.color]));
  const rank = new Map(codes.map((c, i) => [c.value, -i]));
  const value = (f: Feature) => (field ? String(f.properties[field.name] ?? "") : "");
  const color = (f: Feature) => colors.get(value(f)) ?? style.fill ?? (codes.length ? UNLISTED : null);
  pen.lineJoin = pen.lineCap = "round";
  if (layer.geometry === "MultiLineString") {
    // what is ranked first in the code list is drawn last, and every casing lies below every street
    const ordered = [...content.features].sort((a, b) => (rank.get(value(a)) ?? -99) - (rank.get(value(b)) ?? -99));
    for (const casing of [true, false])
      for (const f of ordered) {
        const width = Math.max(widthOf(f, layer) * frame.pixelsPerMetre, 0.6);
        if (casing && (!style.casing || width < 2)) continue;
        trace(pen, f, frame, false);
        pen.lineWidth = casing ? width + 2 : width;
        pen.strokeStyle = (casing ? style.casing : color(f)) ?? "#888";
        pen.stroke();
      }
    return;
  }
  for (const f of content.features) {
    trace(pen, f, frame, true);
    const fill = color(f);
    if (fill) {
      pen.fillStyle = style.grain ? grained(pen, fill) : fill;
      pen.fill("evenodd");
    }
    if (style.stroke && style.stroke_width_px > 0) {
      pen.setLineDash(style.dash_px);
      pen.lineWidth = style.stroke_width_px * 1.6;
      pen.strokeStyle = style.stroke;
      pen.stroke();
      pen.setLineDash([]);
    }
  }
}
