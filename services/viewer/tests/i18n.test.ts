import { describe, expect, test } from "vitest";
import { TEXTS, firstLanguage, local, text, type TextKey } from "../src/i18n";
import { state } from "../src/state";

const HAN = /[\u3400-\u9fff]/;
const keys = Object.keys(TEXTS) as TextKey[];

const sources = import.meta.glob<string>("../src/**/*.ts", { query: "?raw", import: "default", eager: true });
const files = Object.entries(sources).map(([path, content]) => ({ name: path.replace("../src/", ""), content }));

describe("every text a planner sees", () => {
  test.each(keys)("%s is Chinese and English", (key) => {
    const { zh, en } = TEXTS[key];
    expect(zh).toMatch(HAN);
    expect(en).not.toMatch(HAN);
    expect(en).toMatch(/[A-Za-z]/);
  });

  test.each(keys)("%s is shown somewhere", (key) => {
    const shown = files.filter(({ name, content }) => name !== "i18n.ts" && content.includes(`"${key}"`));
    expect(shown.map(({ name }) => name)).not.toEqual([]);
  });

  test("stands here, or in both languages beside the tool that it is of", () => {
    const signs = "layers/marks.ts"; // glyphs of signs are pictures
    const inBoth = /\{\s*zh: "[^"]+",\s*en: "[^"]+",?\s*\}/g;
    const strays = files
      .filter(({ name }) => name !== "i18n.ts" && name !== signs)
      .flatMap(({ name, content }) => content.replace(inBoth, "").split("\n").map((line) => ({ name, line })))
      .filter(({ line }) => HAN.test(line));
    expect(strays).toEqual([]);
  });

  test("follows the language", () => {
    state.language.value = "en";
    expect(text("details")).toBe("Details");
    expect(local({ zh: "甲", en: "A" })).toBe("A");
    state.language.value = "zh";
    expect(text("details")).toBe("详情");
  });
});

test.each([
  ["?lang=en", "en"],
  ["?lang=en-GB", "en"],
  ["?lang=zh-CN", "zh"],
  ["?lang=fr", "zh"],
])("%s begins in %s", (search, language) => {
  history.replaceState(null, "", search);
  expect(firstLanguage()).toBe(language);
  history.replaceState(null, "", "?");
});
