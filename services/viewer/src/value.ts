import type { Column } from "./generated";

/** A value as plain text: nothing for null, JSON for what isn't a word, a number or a yes and no. */
export function asText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "string") return value;
  return JSON.stringify(value) ?? "";
}

const UNITS: Record<string, (value: number) => string> = {
  s: (value) => `${Math.round(value / 6) / 10} min`,
  m: (value) => `${Math.round(value).toLocaleString()} m`,
};

/** A value as a person reads it, by what is declared of it. */
export function shownValue(value: unknown, declared?: Column): string {
  if (typeof value === "number") {
    const unit = UNITS[declared?.["x-ogc-unit"] ?? ""];
    if (unit) return unit(value);
    return Math.abs(value) >= 100 ? Math.round(value).toLocaleString() : Number(value.toPrecision(4)).toString();
  }
  if (value && typeof value === "object") {
    const members = value as Record<string, unknown>;
    const parts = Object.entries(declared?.parts ?? {}).filter(([, part]) => part.shown);
    return parts.map(([name, part]) => shownValue(members[name], part)).filter(Boolean).join(" · ");
  }
  if (typeof value === "boolean") return value ? "✓" : "✗";
  return declared?.values?.[asText(value)] ?? asText(value);
}
