import type { CesiumWidget } from "@cesium/engine";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import example from "../../../tests/example/benches/benches/tools/bench_count.js?raw";
import type { Catalog, Layer } from "../src/generated";
import { topBar } from "../src/panels/top-bar";
import { state } from "../src/state";
import { tools } from "../src/tools";
import { addTools } from "../src/tools/brought";
import { home } from "../src/tools/home";
import { language } from "../src/tools/language";

const script = (text: string) => `data:text/javascript,${encodeURIComponent(text)}`;
const EXAMPLE = script(example);
const makes = (tool: string) => script(`export default (page) => (${tool})`);
const TITLE = 'title: { zh: "甲", en: "A" }';

const catalog: Catalog = {
  city: { name: "Somewhere", srid: 2056, verticalDatum: "EPSG:5728", timezone: "Europe/Zurich" },
  box: [8, 47, 9, 48],
  groundHeightM: 0,
  classes: [],
  codeLists: {},
  layers: [{ id: "bench", role: "benches", count: 7 } as Layer],
  terrain: false,
  moments: [],
  figures: [],
  tools: [],
};
const nowhere = {} as CesiumWidget; // nothing here draws
const ids = () => [...document.querySelectorAll(".tools button")].map((button) => button.id);
const OF_PAGE = [home, language]; // those of the page that draw nothing
const idsOfPage = OF_PAGE.map((tool) => tool.id);

beforeEach(() => {
  document.body.replaceChildren();
  [state.tool.value, state.language.value, tools.value] = [null, "en", OF_PAGE];
  const slot = document.createElement("div");
  document.body.append(slot);
  topBar(slot, catalog, nowhere);
});
afterEach(() => vi.restoreAllMocks());

test("a package's tool stands after the page's own, and its panel opens in the language of the page", async () => {
  await addTools([EXAMPLE], catalog, nowhere);
  expect(ids()).toEqual([...idsOfPage, "bench-count"]);
  const panel = document.getElementById("bench-count-panel")!;
  const button = () => document.getElementById("bench-count")!;
  expect([button().textContent, panel.hidden]).toEqual(["Benches", true]);
  button().click();
  expect([panel.hidden, button().getAttribute("aria-pressed")]).toEqual([false, "true"]);
  expect(panel.textContent).toBe("Benches7 benches in the city");
  state.language.value = "zh";
  expect([button().textContent, panel.textContent]).toEqual(["长椅", "长椅全市有 7 张长椅"]);
});

test("what it switches is seen on its button", async () => {
  await addTools([makes(`{ id: "switch", ${TITLE}, toggles: new page.Observable(false) }`)], catalog, nowhere);
  const button = document.getElementById("switch")!;
  expect(button.getAttribute("aria-pressed")).toBe("false");
  button.click();
  expect(button.getAttribute("aria-pressed")).toBe("true");
});

test("they keep the order of their addresses, whichever comes first", async () => {
  const late = script(`await new Promise((done) => setTimeout(done, 50)); export default () => ({ id: "late", ${TITLE}, act() {} })`);
  await addTools([late, makes(`{ id: "early", ${TITLE}, act() {} }`)], catalog, nowhere);
  expect(ids()).toEqual([...idsOfPage, "late", "early"]);
});

test.each([
  ["isn't there", "file:///nowhere/tool.js"],
  ["isn't JavaScript", script("this is no module")],
  ["throws while it is imported", script('throw new Error("broken")')],
  ["exports no function", script("export const tool = 1")],
  ["gives nothing", makes("undefined")],
  ["has the id of another", makes(`{ id: "home", ${TITLE}, act() {} }`)],
  ["has an id that is no name", makes(`{ id: "A b", ${TITLE}, act() {} }`)],
  ["is named in one language", makes('{ id: "one", title: { en: "A" }, act() {} }')],
  ["does nothing", makes(`{ id: "idle", ${TITLE} }`)],
  ["toggles what nobody can follow", makes(`{ id: "odd", ${TITLE}, toggles: { value: false } }`)],
  ["can't make its panel", makes(`{ id: "bad", ${TITLE}, panel: { mount() { throw new Error("broken"); } } }`)],
])("one that %s is a warning, and the others come", async (_, broken) => {
  const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
  await addTools([broken, EXAMPLE], catalog, nowhere);
  expect(warn).toHaveBeenCalledTimes(1);
  expect(warn.mock.calls[0]![0]).toContain(broken);
  expect(ids()).toEqual([...idsOfPage, "bench-count"]);
});
