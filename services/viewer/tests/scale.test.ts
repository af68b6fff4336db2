import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chart, lines } from "../src/chart";
import { brokenPath, domainOf, linear } from "../src/scale";

const value = fc.float({ min: -1e6, max: 1e6, noNaN: true }).map((v) => (Object.is(v, -0) ? 0 : v));
const gappy = fc.array(fc.option(value), { maxLength: 40 });

describe("a scale", () => {
  test("takes the ends of the domain to the ends of the range and keeps the order", () => {
    fc.assert(
      fc.property(value, value, value, (a, b, c) => {
        const [low, middle, high] = [a, b, c].sort((x, y) => x - y) as [number, number, number];
        fc.pre(high - low > 1e-3);
        const scaled = linear([low, high], [10, 250]);
        expect(scaled(low)).toBeCloseTo(10);
        expect(scaled(high)).toBeCloseTo(250);
        expect(scaled(middle)).toBeGreaterThanOrEqual(10 - 1e-6);
        expect(scaled(middle)).toBeLessThanOrEqual(250 + 1e-6);
      }),
    );
  });

  test("of one value lies at the beginning of the range", () => {
    expect(linear([7, 7], [10, 250])(7)).toBe(10);
  });
});

test("a domain holds every value and its floor", () => {
  fc.assert(
    fc.property(gappy, (values) => {
      const [low, high] = domainOf(values, 0);
      expect(low).toBeLessThanOrEqual(0);
      for (const v of values) if (v !== null) expect(v >= low && v <= high).toBe(true);
    }),
  );
  expect(domainOf([], 0)).toEqual([0, 0]);
  expect(domainOf([null, -3, -5], 0)).toEqual([-5, -3]);
});

test("a path has a point a value, and begins anew after each gap", () => {
  fc.assert(
    fc.property(gappy, (values) => {
      const path = brokenPath(values, (i) => i, (v) => v);
      const moves = path.match(/M/g)?.length ?? 0;
      const points = path.match(/[ML]/g)?.length ?? 0;
      const runs = values.filter((v, i) => v !== null && (i === 0 || values[i - 1] === null)).length;
      expect(points).toBe(values.filter((v) => v !== null).length);
      expect(moves).toBe(runs);
    }),
  );
});

const NUMBERS = /-?\d+(?:\.\d+)?/g;
const pointsOf = (figure: HTMLElement) =>
  [...figure.querySelectorAll("path")].flatMap((p) => (p.getAttribute("d")?.match(NUMBERS) ?? []).map(Number));

test("a chart stays on its sheet and names itself, whatever the values", () => {
  fc.assert(
    fc.property(fc.array(fc.option(value), { minLength: 1, maxLength: 30 }), (values) => {
      const times = values.map((_, i) => new Date(Date.UTC(2026, 0, 1, i)).toISOString());
      for (const figure of [chart(times, values, "流量", "Asia/Shanghai"), lines([values, []], "流量", [[0, "0"]])]) {
        pointsOf(figure).forEach((n, i) => expect(n >= 0 && n <= (i % 2 ? 96 : 288)).toBe(true));
        expect(figure.querySelector("figcaption")?.textContent).toBe("流量");
        expect(figure.innerHTML).not.toContain("NaN");
      }
    }),
    { numRuns: 30 },
  );
});
