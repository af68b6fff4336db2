import type { Language } from "./api";
import type { Selected } from "./state";

/** Where the camera is and where it looks: degrees, and metres over the ellipsoid. */
export type View = { lon: number; lat: number; height_m: number; heading_deg: number; pitch_deg: number };

/** What an address brings back; what it doesn't say is undefined, and null is said. */
export type Scene = {
  view?: View;
  layers?: string[];
  language?: Language;
  at?: string | null; // null: now
  selected?: Selected;
  colorByUse?: boolean;
  job?: string | null; // of the analysis whose result is shown
};

/** The scene as the part of an address after '#': camera (c), layers (l), moment (at), selection (s), colours (u), language (lang), result (r). */
export function writeScene(scene: Required<Omit<Scene, "view">> & { view: View }): string {
  const { view: v } = scene;
  const parts = new URLSearchParams({
    c: [v.lon.toFixed(6), v.lat.toFixed(6), v.height_m.toFixed(1), v.heading_deg.toFixed(1), v.pitch_deg.toFixed(1)].join(","),
    l: [...scene.layers].sort().join(","),
    lang: scene.language,
    at: scene.at ?? "", // empty: now, whatever stands before '#'
  });
  if (scene.selected) parts.set("s", `${scene.selected.layer}/${scene.selected.id}`);
  if (scene.colorByUse) parts.set("u", "1");
  if (scene.job) parts.set("r", scene.job);
  return parts.toString();
}

/** What an address asks for; parts that say nothing that can be are left out. */
export function readScene(hash: string): Scene {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const scene: Scene = { colorByUse: parts.get("u") === "1" };
  const view = readView(parts.get("c") ?? "");
  if (view) scene.view = view;
  const layers = parts.get("l");
  if (layers !== null) scene.layers = layers.split(",").filter(Boolean);
  const language = parts.get("lang");
  if (language === "zh" || language === "en") scene.language = language;
  const at = parts.get("at");
  if (at !== null) scene.at = at || null;
  const selected = parts.get("s")?.match(/^([^/]+)\/(.+)$/s);
  if (selected) scene.selected = { layer: selected[1]!, id: selected[2]! };
  const job = parts.get("r");
  if (job && /^[0-9a-f-]{36}$/.test(job)) scene.job = job;
  return scene;
}

function readView(text: string): View | undefined {
  const words = text.split(",");
  const [lon, lat, height_m, heading_deg, pitch_deg] = words.map((w) => (w.trim() ? Number(w) : NaN));
  const view = { lon: lon!, lat: lat!, height_m: height_m!, heading_deg: heading_deg!, pitch_deg: pitch_deg! };
  const whole = words.length === 5 && Object.values(view).every(Number.isFinite);
  return whole && Math.abs(view.lat) <= 90 && Math.abs(view.lon) <= 180 ? view : undefined;
}
