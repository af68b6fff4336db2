import { daysBetween, shownDay } from "./clock";
import { element } from "./dom";
import { brokenPath, domainOf, linear } from "./scale";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [288, 96, 34, 16];
const ACROSS: [number, number] = [LEFT, WIDTH - 4];
const UPWARD: [number, number] = [HEIGHT - BOTTOM - 4, 6];
const SVG = "http://www.w3.org/2000/svg";

function part(name: string, attributes: Record<string, string | number>, text = ""): SVGElement {
  const made: SVGElement = document.createElementNS<"svg">(SVG, name as "svg");
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.textContent = text;
  return made;
}

function sheet(title: string): { drawn: SVGElement; figure: HTMLElement } {
  const drawn = part("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: "100%", role: "img", "aria-label": title });
  const figure = element("figure", { className: "chart" }, element("figcaption", {}, title), drawn);
  return { drawn, figure };
}

const rule = (x: number) => part("line", { x1: x, x2: x, y1: 4, y2: HEIGHT - BOTTOM, stroke: "#dfe4e1" });
const below = (x: number, label: string, anchor: "start" | "middle") =>
  part("text", { x, y: HEIGHT - 4, "font-size": 9, "text-anchor": anchor, fill: "#64726c" }, label);
const beside = (y: number, label: string) =>
  part("text", { x: LEFT - 4, y: y + 3, "font-size": 9, "text-anchor": "end", fill: "#64726c" }, label);

/** A line over time with its least and greatest value and its days; where values lack, the line breaks. */
export function chart(times: string[], values: (number | null)[], title: string, timeZone: string): HTMLElement {
  const { drawn, figure } = sheet(title);
  const moments = times.map((t) => Date.parse(t));
  const [first, last] = [moments[0] ?? 0, moments[moments.length - 1] ?? 0];
  const domain = domainOf(values, 0);
  const [x, y] = [linear([first, last], ACROSS), linear(domain, UPWARD)];
  for (const day of daysBetween(first, last, timeZone)) {
    drawn.append(rule(x(day)), below(x(day), shownDay(day, timeZone, document.documentElement.lang), "middle"));
  }
  for (const value of domain) drawn.append(beside(y(value), value.toLocaleString()));
  const path = brokenPath(values, (i) => x(moments[i] ?? first), y);
  drawn.append(part("path", { d: path, fill: "none", stroke: "#1f6f5c", "stroke-width": 1.4 }));
  return figure;
}

/** A line a list over its positions, with texts below some of them; where values lack, a line breaks. */
export function lines(lists: (number | null)[][], title: string, ticks: [number, string][]): HTMLElement {
  const { drawn, figure } = sheet(title);
  const longest = Math.max(0, ...lists.map((l) => l.length));
  const domain = domainOf(lists.flat(), 0);
  const [x, y] = [linear([0, longest - 1], ACROSS), linear(domain, UPWARD)];
  for (const [position, label] of ticks) drawn.append(rule(x(position)), below(x(position) + 2, label, "start"));
  for (const value of domain) drawn.append(beside(y(value), String(Number(value.toPrecision(2)))));
  for (const list of lists)
    drawn.append(part("path", { d: brokenPath(list, x, y), fill: "none", stroke: "#1f6f5c", "stroke-width": 0.8, opacity: 0.6 }));
  return figure;
}
