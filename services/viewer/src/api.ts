import type {
  Catalog, DatasetNote, Hit, Mark, Place, Provenance, Series,
} from "./generated";
import { state } from "./state";

/** What the page asks the server for; what it answers is typed by the server. Every address is relative to the page. */
export type Language = "zh" | "en";
export type { Catalog, Layer } from "./generated";
export const UNLISTED = "#b9b9b2"; // colour of a value that its code list doesn't have

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

export const readCatalog = () => json<Catalog>(dated("viewer/catalog.json"));
export const readMarks = (layer: string) => json<Mark[]>(dated(`viewer/marks/${layer}.json`));
export const readHits = (words: string) => json<Hit[]>(dated(`viewer/search?q=${encodeURIComponent(words)}`));
export const readDatasets = (layer: string) => json<DatasetNote[]>(dated(`viewer/datasets/${layer}.json`));
export const readPlace = (lon: number, lat: number, height: number) =>
  json<Place>(`viewer/place?lon=${lon}&lat=${lat}&height=${height}`);
export const readFeature = (layer: string, id: string, language: Language) => {
  const when = state.at.value ? `&datetime=${encodeURIComponent(state.at.value)}` : "";
  return json<{ properties: Record<string, unknown> }>(
    `ogc/collections/${layer}/items/${encodeURIComponent(id)}?f=json&lang=${language}${when}`,
  );
};
export const readSeries = (layer: string, feature: string, period: string) =>
  json<Series>(`observations/${layer}/${encodeURIComponent(feature)}?period=${encodeURIComponent(period)}`);
export const readProvenance = (layer: string, id: string) =>
  json<Provenance>(dated(`viewer/provenance/${layer}/${encodeURIComponent(id)}`));
