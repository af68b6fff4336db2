import { beforeEach, expect, test, vi } from "vitest";
import { resultsList, type Actions } from "../src/analysis/results-list";
import type { Job } from "../src/generated";
import { state } from "../src/state";
import { asText } from "../src/value";

const job = (id: string, more: Partial<Job> = {}): Job => ({
  jobID: id,
  processID: "count_of_things",
  title: "Count of things",
  inputs: { layer: "lamps", radius: 50, at: null },
  type: "process",
  status: "successful",
  message: "",
  shared: false,
  mayChange: true,
  progress: 100,
  created: "2026-01-02T03:04:05Z",
  started: null,
  updated: null,
  finished: null,
  links: [],
  ...more,
});
const shown = (opened: string | null = null) => ({ opened, timeZone: "Asia/Shanghai", called: (v: unknown) => (v === "lamps" ? "Street lamps" : asText(v)) });
const actions = () => ({ open: vi.fn<Actions["open"]>(), share: vi.fn<Actions["share"]>(), remove: vi.fn<Actions["remove"]>() });
const button = (list: HTMLElement, id: string, name: string) => list.querySelector<HTMLButtonElement>(`[data-job="${id}"] .${name}`);

beforeEach(() => {
  state.language.value = "en";
});

test("a result is opened, and two of one analysis are told apart by what was asked", () => {
  const [first, second] = [job("a"), job("b", { inputs: { layer: "trees", radius: 70 } })];
  const does = actions();
  const list = resultsList([first, second], shown("b"), does);
  expect(button(list, "a", "open")?.textContent).toContain("Street lamps, 50");
  expect(button(list, "a", "open")?.textContent).toContain("11:04"); // by the city's clock
  expect(button(list, "b", "open")?.textContent).toContain("trees, 70");
  expect(button(list, "a", "open")?.getAttribute("aria-current")).toBe("false");
  expect(button(list, "b", "open")?.getAttribute("aria-current")).toBe("true");
  button(list, "b", "open")?.click();
  expect(does.open.mock.calls).toEqual([[second]]);
});

test("who may change a result shares it and takes that back; who may not sees that it is shared", () => {
  const does = actions();
  const list = resultsList([job("a"), job("b", { shared: true }), job("c", { shared: true, mayChange: false })], shown(), does);
  button(list, "a", "share")?.click();
  button(list, "b", "share")?.click();
  expect(does.share.mock.calls.map(([of, on]) => [of.jobID, on])).toEqual([["a", true], ["b", false]]);
  expect(button(list, "c", "share")).toBeNull();
  expect(button(list, "c", "remove")).toBeNull();
  expect(list.querySelector('[data-job="c"]')?.textContent).toContain("shared");
});

test("nothing is deleted by one click", () => {
  const does = actions();
  const list = resultsList([job("a")], shown(), does);
  button(list, "a", "remove")?.click();
  expect(does.remove).not.toHaveBeenCalled();
  button(list, "a", "remove")?.click();
  expect(does.remove).toHaveBeenCalledOnce();
});

test.each(["accepted", "running", "failed"] as const)("one that is %s can't be opened or shared, but deleted", (status) => {
  const list = resultsList([job("a", { status })], shown(), actions());
  expect(button(list, "a", "open")?.disabled).toBe(true);
  expect(button(list, "a", "share")).toBeNull();
  expect(button(list, "a", "remove")).not.toBeNull();
});

test("what was deleted isn't listed, and an empty list says so in the page's language", () => {
  expect(resultsList([job("a", { status: "dismissed" })], shown(), actions()).textContent).toBe("No results yet");
  state.language.value = "zh";
  expect(resultsList([], shown(), actions()).textContent).toBe("还没有结果");
});
