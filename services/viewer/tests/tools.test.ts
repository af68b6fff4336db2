import type { CesiumWidget } from "@cesium/engine";
import { beforeEach, describe, expect, test } from "vitest";
import type { Catalog } from "../src/generated";
import { state } from "../src/state";
import { TOOLS } from "../src/tools";
import { buttonOf, mountPanel, pressed } from "../src/tools/tool";
import { latitude } from "./example/latitude";

const HAN = /[\u3400-\u9fff]/;
const catalog: Catalog = {
  city: { name: "Somewhere", srid: 2056, verticalDatum: "EPSG:5728", timezone: "Europe/Zurich" },
  box: [8, 47, 9, 48],
  groundHeightM: 0,
  classes: [],
  codeLists: {},
  layers: [],
  terrain: false,
  moments: [],
  figures: [],
  tools: [],
};
const nowhere = {} as CesiumWidget; // the example draws nothing

beforeEach(() => {
  document.body.replaceChildren();
  [state.tool.value, state.language.value] = [null, "en"];
});

describe("a tool made by the recipe: one file and one row", () => {
  test("has a button in the language of the page, which opens its panel and is pressed while it is open", () => {
    mountPanel(latitude, catalog, nowhere);
    const button = buttonOf(latitude, catalog, nowhere);
    const panel = document.getElementById("latitude-panel")!;
    expect([button.textContent, panel.hidden, pressed(latitude)]).toEqual(["Latitude", true, false]);
    button.click();
    expect([panel.hidden, pressed(latitude)]).toEqual([false, true]);
    expect(panel.textContent).toBe("LatitudeN 47° – 48°");
    state.language.value = "zh";
    expect(panel.textContent).toBe("纬度北 47° – 48°");
    expect(buttonOf(latitude, catalog, nowhere).textContent).toBe("纬度");
    button.click();
    expect([panel.hidden, pressed(latitude)]).toEqual([true, false]);
  });
});

describe.each([...TOOLS, latitude].map((tool) => [tool.id, tool] as const))("%s", (_, tool) => {
  test("is named in both languages and does something", () => {
    expect(tool.id).toMatch(/^[a-z-]+$/);
    // the button that changes the language names the other one, in that language
    const { zh, en } = tool.title;
    const [chinese, english] = tool.id === "language" ? [en, zh] : [zh, en];
    expect(chinese).toMatch(HAN);
    expect(english).toMatch(/^[A-Za-z ]+$/);
    expect(tool.act ?? tool.panel ?? tool.toggles).toBeDefined();
  });
});

test("no two tools have one id", () => {
  const ids = [...TOOLS, latitude].map((tool) => tool.id);
  expect(new Set(ids).size).toBe(ids.length);
});
