import fc from "fast-check";
import { expect, test } from "vitest";
import { readScene, writeScene } from "../src/scene-address";

// what the address is written with: six digits of a degree, one of a metre and of an angle
const fixed = (min: number, max: number, digits: number) =>
  fc.integer({ min: min * 10 ** digits, max: max * 10 ** digits }).map((n) => n / 10 ** digits);
const view = fc.record({
  lon: fixed(-180, 180, 6),
  lat: fixed(-90, 90, 6),
  height_m: fixed(-500, 100_000, 1),
  heading_deg: fixed(0, 360, 1),
  pitch_deg: fixed(-90, 90, 1),
});
const layer = fc.stringMatching(/^[a-z][a-z0-9_]{0,20}$/);
const scene = fc.record({
  view,
  layers: fc.uniqueArray(layer).map((ids) => ids.sort()),
  language: fc.constantFrom("zh" as const, "en" as const),
  at: fc.option(fc.date({ noInvalidDate: true, min: new Date("1900-01-01"), max: new Date("2100-01-01") }).map((d) => d.toISOString())),
  selected: fc.option(fc.record({ layer, id: fc.string({ unit: "grapheme", minLength: 1 }) })),
  colorByUse: fc.boolean(),
  job: fc.option(fc.uuid()),
});

test("an address brings back the scene it was written from", () => {
  fc.assert(
    fc.property(scene, (written) => {
      const { selected, ...rest } = readScene(`#${writeScene(written)}`);
      expect(rest).toEqual({ ...rest, view: written.view, layers: written.layers, language: written.language });
      expect(rest.at).toBe(written.at);
      expect(rest.colorByUse).toBe(written.colorByUse);
      expect(rest.job ?? null).toBe(written.job);
      expect(selected ?? null).toEqual(written.selected);
    }),
  );
});

test("whatever an address says, what is read of it is a scene or nothing", () => {
  const parts = fc.record({ c: fc.string(), l: fc.string(), lang: fc.string(), at: fc.string(), s: fc.string(), u: fc.string() }, { requiredKeys: [] });
  fc.assert(
    fc.property(fc.oneof(fc.string(), parts.map((p) => new URLSearchParams(p).toString())), (hash) => {
      const read = readScene(hash);
      if (read.view) for (const value of Object.values(read.view)) expect(value).toSatisfy(Number.isFinite);
      expect([undefined, "zh", "en"]).toContain(read.language);
      expect(read.layers ?? []).not.toContain("");
    }),
  );
});

test.each(["", "c=", "c=1,2,3,4", "c=1,2,,4,5", "c=1,2,3,4,five", "c=1,91,3,4,5", "c=181,2,3,4,5", "c=1,2,3,4,5,6"])("%j moves no camera", (hash) => {
  expect(readScene(hash).view).toBeUndefined();
});
