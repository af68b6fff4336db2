import type { RasterPicture } from "./analysis/jobs";
import type { Look, Results, Shape as Geometry } from "./generated";
import { asText } from "./value";

type Point = { x: number; y: number };
/** A drawn row: its rings in the unit square of Web Mercator, 3 an area, 2 a line. */
export type Shape = { rings: Point[][]; kind: 2 | 3; color: string };
export type Legend = { color: string; label: string }[];
/** A picture over a box of the unit square of Web Mercator. */
export type Picture = { image: ImageBitmap; low: Point; high: Point };
/** What of a result is drawn: rows draped on the ground, a picture, or the bodies of a job. */
export type Coloured = { shapes: Shape[]; legend: Legend; picture?: Picture; mesh?: string };

const PLAIN = "#c8553d";

function project([lon, lat]: [number, number]): Point {
  const phi = (lat * Math.PI) / 180;
  return { x: (lon + 180) / 360, y: (1 - Math.log(Math.tan(phi) + 1 / Math.cos(phi)) / Math.PI) / 2 };
}

type Ring = [number, number][];
function shapesOf(geometry: Geometry | null, color: string): Shape[] {
  if (!geometry) return [];
  const area = (rings: Ring[]): Shape => ({ rings: rings.map((r) => r.map(project)), kind: 3, color });
  const line = (ring: Ring): Shape => ({ rings: [ring.map(project)], kind: 2, color });
  switch (geometry.type) {
    case "Polygon":
      return [area(geometry.coordinates as Ring[])];
    case "MultiPolygon":
      return (geometry.coordinates as Ring[][]).map(area);
    case "LineString":
      return [line(geometry.coordinates as Ring)];
    case "MultiLineString":
      return (geometry.coordinates as Ring[]).map(line);
    case "GeometryCollection":
      return (geometry.geometries ?? []).flatMap((g) => shapesOf(g, color));
    case "Point":
      return [line([geometry.coordinates as Ring[number], geometry.coordinates as Ring[number]])]; // a dot, by its round caps
    default:
      return [];
  }
}

/** Geometries in one colour, without a legend. */
export const plainly = (geometries: Geometry[]): Coloured => ({
  shapes: geometries.flatMap((g) => shapesOf(g, PLAIN)),
  legend: [],
});

const number = (value: number): string =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString() : Number(value.toPrecision(3)).toString();

/** Gives each row its colour by one column: classes for numbers, a colour each for values. */
export function coloured(answer: Results, look: Look): Coloured {
  const column = answer.drawn_by ?? look["x-legend"]?.column ?? null;
  const values = answer.features.map((f) => (column ? f.properties[column] : null));
  const numbers = values.filter((v): v is number => typeof v === "number").sort((a, b) => a - b);
  if (numbers.length && look["x-legend"]?.method !== "values") return byNumber(answer, values, numbers, look);
  const words = [...new Set(values.map(asText))];
  const palette = look["x-value-colors"];
  const colors = new Map(words.map((w, i) => [w, w === "" && column ? look["x-unknown-color"] : palette[i % palette.length]!]));
  const titles = look["x-columns"][column ?? ""]?.values ?? {};
  // areas lie below lines, whichever row came first
  const drawn = answer.features.flatMap((f, i) => shapesOf(f.geometry, colors.get(asText(values[i]))!));
  return {
    shapes: drawn.sort((a, b) => b.kind - a.kind),
    legend: words.filter((w) => w !== "").map((w) => ({ color: colors.get(w)!, label: titles[w] ?? w })),
  };
}

/** A raster's picture, and a legend of the classes that it is drawn in: from each bound to the next. */
export function pictured(look: Look, { image, box, bounds }: RasterPicture): Coloured {
  const ramp = look["x-legend"]?.ramp ?? [];
  const least = bounds.slice(0, -1);
  return {
    shapes: [],
    legend: least.map((low, k) => ({ color: shade(ramp, k, least.length), label: `${number(low)} – ${number(bounds[k + 1]!)}` })),
    picture: { image, low: project([box[0], box[3]]), high: project([box[2], box[1]]) },
  };
}

/** The colour of a class in a ramp that may have more colours than there are classes. */
const shade = (ramp: readonly string[], k: number, count: number): string => ramp[Math.round((k * (ramp.length - 1)) / Math.max(count - 1, 1))]!;

/** The bodies of a job's result with their legend: rows that have one aren't draped as well. */
export function embodied(answer: Results, look: Look, job: string): Coloured {
  const hasBody = (f: Results["features"][number]) => f.geometry?.type === "MultiPolygon" && deepest(f.geometry.coordinates) === 3;
  const features = answer.features.map((f) => (hasBody(f) ? { ...f, geometry: null } : f));
  return { ...coloured({ ...answer, features }, look), mesh: job };
}

/** How many numbers the first place of nested coordinates has. */
const deepest = (coordinates: unknown): number =>
  Array.isArray(coordinates) ? (Array.isArray(coordinates[0]) ? deepest(coordinates[0]) : coordinates.length) : 0;

function byNumber(answer: Results, values: unknown[], sorted: number[], look: Look): Coloured {
  const { ramp, method, classes } = look["x-legend"] ?? { ramp: [PLAIN], method: "quantiles" as const, classes: 1 };
  const distinct = [...new Set(sorted)];
  const [bottom, top] = [sorted[0]!, sorted[sorted.length - 1]!];
  const count = Math.min(classes, ramp.length, distinct.length);
  const least = Array.from({ length: count }, (_, k) =>
    method === "equal" ? bottom + (k * (top - bottom)) / count : distinct[Math.floor((k * distinct.length) / count)]!,
  );
  const classOf = (v: number) => least.reduce((found, low, k) => (v >= low ? k : found), 0);
  const color = (v: unknown) =>
    typeof v === "number" ? shade(ramp, classOf(v), count) : look["x-unknown-color"];
  return {
    shapes: answer.features.flatMap((f, i) => shapesOf(f.geometry, color(values[i]))),
    legend: least.map((low, k) => ({
      color: color(low),
      label: `${number(low)} – ${number(k + 1 < count ? least[k + 1]! : top)}`,
    })),
  };
}
