import type { Text } from "./api";

/** The answer of an analysis: GeoJSON with figures, check and origin as further members. */
export type Feature = {
  id: string;
  geometry: { type: string; coordinates: unknown; geometries?: Feature["geometry"][] } | null;
  properties: Record<string, unknown>;
};
export type Answer = { features: Feature[]; check: { passed: boolean; what: string }; computed_from: Record<string, unknown> } & Record<
  string,
  unknown
>;

type Point = { x: number; y: number };
/** A drawn row: its rings in the unit square of Web Mercator, 3 an area, 2 a line. */
export type Shape = { rings: Point[][]; kind: 2 | 3; color: string };
export type Legend = { color: string; label: string }[];
export type Coloured = { shapes: Shape[]; legend: Legend };

const RAMP = ["#fde8c8", "#fbbf7a", "#f28f3b", "#c8553d", "#7f2a2a"];
const KINDS = ["#c8553d", "#2a7fb8", "#6a4fb3", "#2e7d32", "#c2185b", "#8d6e3f"];

function project([lon, lat]: [number, number]): Point {
  const phi = (lat * Math.PI) / 180;
  return { x: (lon + 180) / 360, y: (1 - Math.log(Math.tan(phi) + 1 / Math.cos(phi)) / Math.PI) / 2 };
}

type Ring = [number, number][];
function shapesOf(geometry: Feature["geometry"], color: string): Shape[] {
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
export const plainly = (geometries: NonNullable<Feature["geometry"]>[]): Coloured => ({
  shapes: geometries.flatMap((g) => shapesOf(g, KINDS[0]!)),
  legend: [],
});

const number = (value: number): string =>
  Math.abs(value) >= 100 ? Math.round(value).toLocaleString() : Number(value.toPrecision(3)).toString();

/** Gives each row its colour by one column: five classes of like number for numbers, a colour each for words. */
export function coloured(answer: Answer, column: string | null, titles: Record<string, Text>, local: (t: Text) => string): Coloured {
  const values = answer.features.map((f) => (column ? f.properties[column] : null));
  const numbers = values.filter((v): v is number => typeof v === "number").sort((a, b) => a - b);
  if (numbers.length) return byNumber(answer, values, numbers);
  const words = [...new Set(values.map((v) => String(v ?? "")))];
  const colors = new Map(words.map((w, i) => [w, KINDS[i % KINDS.length]!]));
  // areas lie below lines, whichever row came first
  const drawn = answer.features.flatMap((f, i) => shapesOf(f.geometry, colors.get(String(values[i] ?? ""))!));
  return {
    shapes: drawn.sort((a, b) => b.kind - a.kind),
    legend: words.map((w) => ({ color: colors.get(w)!, label: titles[w] ? local(titles[w]) : w })),
  };
}

function byNumber(answer: Answer, values: unknown[], sorted: number[]): Coloured {
  const distinct = [...new Set(sorted)];
  const count = Math.min(RAMP.length, distinct.length);
  const least = Array.from({ length: count }, (_, k) => distinct[Math.floor((k * distinct.length) / count)]!);
  const classOf = (v: number) => least.reduce((found, low, k) => (v >= low ? k : found), 0);
  const color = (v: unknown) => (typeof v === "number" ? RAMP[Math.round((classOf(v) * (RAMP.length - 1)) / Math.max(count - 1, 1))]! : "#b9b9b2");
  const top = sorted[sorted.length - 1]!;
  return {
    shapes: answer.features.flatMap((f, i) => shapesOf(f.geometry, color(values[i]))),
    legend: least.map((low, k) => ({
      color: color(low),
      label: `${number(low)} – ${number(k + 1 < count ? least[k + 1]! : top)}`,
    })),
  };
}
