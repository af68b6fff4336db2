import { expect, test } from "vitest";
import { Observable, state, toggleLayer } from "../src/state";
import { asText, shownValue } from "../src/value";

test("who subscribes hears the value at once and each change of it, once", () => {
  const heard: number[] = [];
  const number = new Observable(1);
  number.subscribe((v) => heard.push(v));
  for (const next of [1, 2, 2, NaN, NaN, 3]) number.value = next;
  expect(heard).toEqual([1, 2, NaN, 3]);
});

test("a layer is switched on and off, and the rest stays", () => {
  state.visible.value = new Set(["a"]);
  const before = state.visible.value;
  toggleLayer("b");
  expect([...state.visible.value].sort()).toEqual(["a", "b"]);
  toggleLayer("a");
  expect([...state.visible.value]).toEqual(["b"]);
  expect([...before]).toEqual(["a"]); // a new set each time: who holds the old one isn't surprised
});

test.each([
  [null, ""],
  [undefined, ""],
  ["甲", "甲"],
  [1.5, "1.5"],
  [false, "false"],
  [{ a: [1] }, '{"a":[1]}'],
])("%j as plain text is %j", (value, plain) => expect(asText(value)).toBe(plain));

const COUNT = { title: "n", shown: true };
test.each([
  [null, COUNT, ""],
  [0.123456, COUNT, "0.1235"],
  [90, { ...COUNT, "x-ogc-unit": "s" }, "1.5 min"],
  [true, COUNT, "✓"],
  ["x", { ...COUNT, values: { x: "已到达" } }, "已到达"],
  [{ n: 5, secret: 6 }, { ...COUNT, parts: { n: COUNT, secret: { ...COUNT, shown: false } } }, "5"],
  [{ n: null, m: 7 }, { ...COUNT, parts: { n: COUNT, m: COUNT } }, "7"],
])("%j is shown by its declaration %j as %j", (value, declared, shown) => expect(shownValue(value, declared)).toBe(shown));
