import type { Answer, Look, Shown } from "./results";
import { state } from "./state";

/** What the server tells: every address is relative to the page. */
export type Language = "zh" | "en";
export type Text = { zh: string; en: string };
export type Code = { value: string; title: Text; color: string | null };
export type Field = { name: string; title: Text; type: string; unit: string | null; codes: string | null; role: string | null; additive: boolean };
export type Style = {
  visible: boolean;
  fill: string | null;
  stroke: string | null;
  stroke_width_px: number;
  dash_px: number[];
  casing: string | null;
  color_by: string | null;
  default_width_m: number;
  label: string | null;
  label_color: string;
  label_from_m: number;
  grain: boolean; // areas are filled a little unevenly
  glyph: string;
  icon_from_m: number;
  rank: number; // the lowest is shown first where there is no room for all
};
export type Layer = {
  id: string;
  kind: "feature" | "raster" | "points" | "tileset" | "observation";
  geometry: "MultiPolygon" | "MultiLineString" | "Point" | null;
  role: string | null;
  symbol: string | null; // what stands for a point of it in 3D
  cimLevel: number;
  observes: string | null; // the layer whose features' values over time this one holds
  title: Text;
  description: Text;
  classCode: string;
  order: number;
  count: number;
  bodies: boolean; // it is drawn as 3D tiles
  tiled: boolean; // there are tiles of it at the moment that is shown
  fields: Field[];
  style: Style;
};
export type Catalog = {
  city: { name: string; srid: number; verticalDatum: string };
  box: [number, number, number, number] | null;
  classes: { code: string; title: Text }[];
  codeLists: Record<string, Code[]>;
  layers: Layer[];
  terrain: boolean;
  moments: string[]; // at which tiles change
  figures: { layer: string; title: Text; unit: string | null; value: number }[];
};
export type DatasetSaid = { name: string; surveyed: string | null; licence: string | null; count: number };
export type Found = { layer: string | null; id: string | null; text: string; lon: number; lat: number; crs?: string };
export type Place = { srid: number; x: number; y: number; anomaly: number; height?: number };
export type Mark = { id: string; lon: number; lat: number; text: string | null };

const parameters = new URLSearchParams(location.search);
export const lean = parameters.has("lean");

/** Adds the moment that the page shows, where it shows one. */
export function dated(path: string): string {
  const at = state.at.value;
  return at ? `${path}${path.includes("?") ? "&" : "?"}at=${encodeURIComponent(at)}` : path;
}

async function json<T>(path: string): Promise<T> {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return (await answer.json()) as T;
}

export async function readCatalog(): Promise<Catalog> {
  const catalog = await json<Catalog>(dated("viewer/catalog.json"));
  for (const layer of catalog.layers) layer.tiled = layer.bodies;
  return catalog;
}
export const readMarks = (layer: string) => json<Mark[]>(dated(`viewer/marks/${layer}.json`));
export const readFound = (words: string) => json<Found[]>(dated(`viewer/search?q=${encodeURIComponent(words)}`));
export const readDatasets = (layer: string) => json<DatasetSaid[]>(dated(`viewer/datasets/${layer}.json`));
export const readPlace = (lon: number, lat: number, height: number) =>
  json<Place>(`viewer/place?lon=${lon}&lat=${lat}&height=${height}`);
export type Input = {
  title: string;
  description?: string;
  minOccurs: number;
  schema: {
    type?: string;
    default?: unknown;
    enum?: string[];
    "x-ogc-unit"?: string;
    "x-choices"?: string;
    "x-also"?: { value: string; title: string; role: string | null }[];
  };
};
export type Process = {
  id: string;
  title: string;
  description: string;
  inputs: Record<string, Input>;
  outputs: { result: { schema: Look & { "x-columns": Record<string, Shown>; "x-figures": Record<string, Shown> } } };
};
export type Job = { jobID: string; status: string; progress: number; message: string };

export const readProcesses = async (language: Language) =>
  (await json<{ processes: { id: string; title: string }[] }>(`ogc/processes?f=json&lang=${language}`)).processes;
export const readProcess = (id: string, language: Language) => json<Process>(`ogc/processes/${id}?f=json&lang=${language}`);
export const readJob = (id: string) => json<Job>(`ogc/jobs/${id}?f=json`);
export const readResults = (id: string) => json<Answer>(`ogc/jobs/${id}/results`);

/** The raster of a result as a picture, and the box of degrees that it covers. */
export async function readPicture(id: string): Promise<{ image: ImageBitmap; box: [number, number, number, number] }> {
  const answer = await fetch(`ogc/jobs/${id}/results?f=png`);
  if (!answer.ok) throw new Error(`${answer.status}`);
  const box = (answer.headers.get("Content-Bbox") ?? "").split(",").map(Number) as [number, number, number, number];
  return { image: await createImageBitmap(await answer.blob()), box };
}

/** Queues an analysis; gives the id of its job. */
export async function startJob(process: string, inputs: Record<string, unknown>): Promise<string> {
  const answer = await fetch(`ogc/processes/${process}/execution`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Prefer: "respond-async" },
    body: JSON.stringify({ inputs: state.at.value ? { ...inputs, at: state.at.value } : inputs }),
  });
  const said = (await answer.json()) as { jobID: string; title?: string };
  if (!answer.ok) throw new Error(said.title ?? `${answer.status}`);
  return said.jobID;
}

export async function dismissJob(id: string): Promise<void> {
  await fetch(`ogc/jobs/${id}`, { method: "DELETE" });
}

export const readFeature = (layer: string, id: string, language: Language) => {
  const when = state.at.value ? `&datetime=${encodeURIComponent(state.at.value)}` : "";
  return json<{ properties: Record<string, unknown> }>(
    `ogc/collections/${layer}/items/${encodeURIComponent(id)}?f=json&lang=${language}${when}`,
  );
};
export type Series = { times: string[]; values: Record<string, { mean: (number | null)[] }> };
export const readSeries = (layer: string, feature: string, period: string) =>
  json<Series>(`observations/${layer}/${encodeURIComponent(feature)}?period=${encodeURIComponent(period)}`);
export const readProvenance = (layer: string, id: string) =>
  json<Record<string, string | number | string[] | null>>(dated(`viewer/provenance/${layer}/${encodeURIComponent(id)}`));
