import fc from "fast-check";
import { expect, test } from "vitest";
import { inStep, type Stage } from "../src/layers/in-step";

type Drawn = { moment: number };

/** A scene that notes what stands on it, and which of that is shown. */
function scene(load: () => Promise<Drawn>, ready: () => Promise<void>) {
  const standing = new Set<Drawn>();
  const shown = new Set<Drawn>();
  const stage: Stage<Drawn> = {
    load,
    ready,
    add: (drawn) => void standing.add(drawn),
    remove: (drawn) => {
      standing.delete(drawn);
      shown.delete(drawn);
    },
    show: (drawn, visible) => void (visible ? shown.add(drawn) : shown.delete(drawn)),
  };
  return { stage, standing, shown, moments: () => [...standing].map((d) => d.moment) };
}

test("whatever comes first, in the end the scene holds what is of the moment asked for last, and nothing else", async () => {
  const steps = fc.array(fc.record({ exists: fc.boolean(), visible: fc.boolean() }), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), steps, async (scheduler, asked) => {
      let moment = -1;
      const on = scene(
        () => scheduler.schedule(Promise.resolve({ moment })),
        () => scheduler.schedule(Promise.resolve()),
      );
      const layer = inStep(() => asked[moment]!.exists, on.stage);
      const follows = asked.map(({ visible }, i) => {
        moment = i;
        layer.show(visible);
        return layer.follow();
      });
      await scheduler.waitAll();
      await Promise.all(follows);
      const last = asked[asked.length - 1]!;
      expect(on.moments()).toEqual(last.exists ? [asked.length - 1] : []);
      expect(layer.current()?.moment ?? null).toBe(last.exists ? asked.length - 1 : null);
      expect(on.shown.size).toBe(last.exists && last.visible ? 1 : 0);
    }),
  );
});

test("the old picture stays until the new one is ready, and where the new one can't be loaded", async () => {
  let moment = 0;
  let release: () => void = () => undefined;
  const on = scene(
    () => (moment === 2 ? Promise.reject(new Error("gone")) : Promise.resolve({ moment })),
    () => new Promise((resolve) => (release = resolve)),
  );
  const layer = inStep(() => true, on.stage);
  await layer.follow();
  expect([...on.shown].map((d) => d.moment)).toEqual([0]);
  moment = 1;
  const following = layer.follow();
  await Promise.resolve();
  expect([...on.shown].map((d) => d.moment)).toEqual([0]);
  release();
  await new Promise((resolve) => setTimeout(resolve));
  release();
  await following;
  expect([...on.shown].map((d) => d.moment)).toEqual([1]);
  moment = 2;
  await expect(layer.follow()).rejects.toThrow("gone");
  expect([...on.shown].map((d) => d.moment)).toEqual([1]);
  expect(on.moments()).toEqual([1]);
});

test("no code of the page asks which kind a layer is: its renderer answers", () => {
  const sources = import.meta.glob<string>("../src/**/*.ts", { query: "?raw", import: "default", eager: true });
  const asked = /\.kind\s*[!=]==?\s*"(feature|raster|points|tileset|observation)"/;
  expect(Object.entries(sources).filter(([, content]) => asked.test(content)).map(([path]) => path)).toEqual([]);
});
