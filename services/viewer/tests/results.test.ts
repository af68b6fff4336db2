import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Look, Results, Shape } from "../src/generated";
import { coloured, embodied, pictured, plainly } from "../src/results";

const RAMP = ["#111111", "#222222", "#333333", "#444444", "#555555"];
const UNKNOWN = "#cccccc";
const look = (method: "quantiles" | "equal" | "values"): Look => ({
  "x-columns": { v: { title: "V", shown: true, values: { a: "甲" } } },
  "x-figures": {},
  "x-legend": { column: "v", method, ramp: RAMP, classes: RAMP.length },
  "x-value-colors": ["#aa0000", "#00aa00"],
  "x-unknown-color": UNKNOWN,
  "x-plots": [],
});
const square: Shape = { type: "Polygon", coordinates: [[[0, 0], [1, 0], [1, 1], [0, 0]]] };
const answer = (values: unknown[]): Results => ({
  type: "FeatureCollection",
  features: values.map((v, i) => ({ type: "Feature", id: String(i), geometry: square, properties: { v } })),
  check: { passed: true, what: "", what_zh: "" },
  computed_from: {},
});
const numbers = fc.array(fc.option(fc.integer({ min: -1000, max: 1000 })), { minLength: 1, maxLength: 60 });

describe.each(["quantiles", "equal"] as const)("classes by %s", (method) => {
  test("a row has a colour of the legend, unknown its own; a higher value never a lower class", () => {
    fc.assert(
      fc.property(numbers, (values) => {
        fc.pre(values.some((v) => v !== null));
        const drawn = coloured(answer(values), look(method));
        const colors = drawn.legend.map((l) => l.color);
        expect(colors.length).toBeLessThanOrEqual(RAMP.length);
        expect(new Set(colors).size).toBe(colors.length);
        values.forEach((v, i) => {
          const color = drawn.shapes[i]!.color;
          expect(v === null ? [UNKNOWN] : colors).toContain(color);
        });
        const rows = values.map((v, i) => ({ v, rank: RAMP.indexOf(drawn.shapes[i]!.color) })).filter((r) => r.v !== null);
        rows.sort((a, b) => a.v! - b.v!);
        rows.slice(1).forEach((row, i) => expect(row.rank).toBeGreaterThanOrEqual(rows[i]!.rank));
      }),
    );
  });
});

test("values have a colour each and their titles; what is unknown isn't in the legend", () => {
  const drawn = coloured(answer(["a", "b", null, "a"]), look("values"));
  expect(drawn.legend).toEqual([
    { color: "#aa0000", label: "甲" },
    { color: "#00aa00", label: "b" },
  ]);
  expect(drawn.shapes.map((s) => s.color)).toEqual(["#aa0000", "#00aa00", UNKNOWN, "#aa0000"]);
});

test("areas lie below lines, whichever row came first, and a collection is drawn in its parts", () => {
  const line: Shape = { type: "LineString", coordinates: [[0, 0], [1, 1]] };
  const mixed = answer(["a", "a"]);
  mixed.features[0]!.geometry = { type: "GeometryCollection", coordinates: [], geometries: [line, square] };
  expect(coloured(mixed, look("values")).shapes.map((s) => s.kind)).toEqual([3, 3, 2]);
});

test("degrees lie in the unit square, east to the right and north at the top", () => {
  const place = fc.tuple(fc.double({ min: -180, max: 180, noNaN: true }), fc.double({ min: -85, max: 85, noNaN: true }));
  fc.assert(
    fc.property(place, place, (a, b) => {
      const [p, q] = plainly([{ type: "LineString", coordinates: [a, b] }]).shapes[0]!.rings[0]!;
      for (const { x, y } of [p!, q!]) expect(x >= 0 && x <= 1 && y >= 0 && y <= 1).toBe(true);
      if (a[0] < b[0]) expect(p!.x).toBeLessThanOrEqual(q!.x);
      if (a[1] < b[1]) expect(p!.y).toBeGreaterThanOrEqual(q!.y);
    }),
  );
  expect(plainly([{ type: "Point", coordinates: [0, 0] }]).shapes[0]!.rings[0]![0]).toEqual({ x: 0.5, y: 0.5 });
});

test("a row with a body is drawn by the mesh, one without by itself, and both enter the legend", () => {
  const solid: Shape = { type: "MultiPolygon", coordinates: [[[[0, 0, 700], [1, 0, 700], [1, 1, 709], [0, 0, 700]]]] };
  const mixed = answer(["a", "b"]);
  mixed.features[0]!.geometry = solid;
  const drawn = embodied(mixed, look("values"), "job");
  expect(drawn.mesh).toBe("job");
  expect(drawn.shapes.map((s) => s.color)).toEqual(["#00aa00"]);
  expect(drawn.legend).toEqual(coloured(mixed, look("values")).legend);
});

test("a raster's legend has the classes that its picture is drawn in, of as many colours as there are", () => {
  const image = {} as ImageBitmap;
  const drawn = pictured(look("quantiles"), { image, box: [0, 0, 1, 1], bounds: [0.5, 1.25, 28] });
  expect(drawn.legend).toEqual([
    { color: RAMP[0], label: "0.5 – 1.25" },
    { color: RAMP[4], label: "1.25 – 28" },
  ]);
  expect(pictured(look("quantiles"), { image, box: [0, 0, 1, 1], bounds: [] }).legend).toEqual([]);
});

test("there are no more classes than the analysis declares", () => {
  const three = look("quantiles");
  three["x-legend"]!.classes = 3;
  expect(coloured(answer([1, 2, 3, 4, 5, 6, 7]), three).legend.map((l) => l.color)).toEqual([RAMP[0], RAMP[2], RAMP[4]]);
});
