const [WIDTH, HEIGHT, LEFT, BOTTOM] = [288, 96, 34, 16];
const SVG = "http://www.w3.org/2000/svg";

function part(name: string, attributes: Record<string, string | number>, text = ""): SVGElement {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  made.textContent = text;
  return made;
}

/** A line over time with its least and greatest value and its days; where values lack, the line breaks. */
export function chart(times: string[], values: (number | null)[], title: string): HTMLElement {
  const known = values.filter((v): v is number => v !== null);
  const [low, high] = [Math.min(...known, 0), Math.max(...known)];
  const moments = times.map((t) => Date.parse(t));
  const [first, last] = [moments[0]!, moments[moments.length - 1]!];
  const x = (t: number) => LEFT + ((WIDTH - LEFT - 4) * (t - first)) / Math.max(last - first, 1);
  const y = (v: number) => 6 + (HEIGHT - BOTTOM - 10) * (1 - (v - low) / Math.max(high - low, 1e-9));
  const drawn = part("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: "100%", role: "img", "aria-label": title });
  for (let day = new Date(first).setHours(24, 0, 0, 0); day < last; day += 86_400_000) {
    drawn.append(part("line", { x1: x(day), x2: x(day), y1: 4, y2: HEIGHT - BOTTOM, stroke: "#dfe4e1" }));
    const name = new Date(day).toLocaleDateString(document.documentElement.lang, { month: "numeric", day: "numeric" });
    drawn.append(part("text", { x: x(day), y: HEIGHT - 4, "font-size": 9, "text-anchor": "middle", fill: "#64726c" }, name));
  }
  for (const value of [low, high])
    drawn.append(part("text", { x: LEFT - 4, y: y(value) + 3, "font-size": 9, "text-anchor": "end", fill: "#64726c" }, value.toLocaleString()));
  let path = "";
  values.forEach((v, i) => {
    if (v !== null) path += `${i === 0 || values[i - 1] === null ? "M" : "L"}${x(moments[i]!).toFixed(1)} ${y(v).toFixed(1)}`;
  });
  drawn.append(part("path", { d: path, fill: "none", stroke: "#1f6f5c", "stroke-width": 1.4 }));
  const figure = document.createElement("figure");
  figure.className = "chart";
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  figure.append(caption, drawn);
  return figure;
}

/** A line a list over its positions, with texts below some of them; where values lack, a line breaks. */
export function lines(lists: (number | null)[][], title: string, ticks: [number, string][]): HTMLElement {
  const known = lists.flat().filter((v): v is number => v !== null);
  const high = Math.max(...known, 1e-9);
  const last = Math.max(...lists.map((l) => l.length)) - 1;
  const x = (i: number) => LEFT + ((WIDTH - LEFT - 4) * i) / Math.max(last, 1);
  const y = (v: number) => 6 + (HEIGHT - BOTTOM - 10) * (1 - v / high);
  const drawn = part("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: "100%", role: "img", "aria-label": title });
  for (const [position, label] of ticks) {
    drawn.append(part("line", { x1: x(position), x2: x(position), y1: 4, y2: HEIGHT - BOTTOM, stroke: "#dfe4e1" }));
    drawn.append(part("text", { x: x(position) + 2, y: HEIGHT - 4, "font-size": 9, fill: "#64726c" }, label));
  }
  for (const value of [0, high])
    drawn.append(part("text", { x: LEFT - 4, y: y(value) + 3, "font-size": 9, "text-anchor": "end", fill: "#64726c" }, String(Number(value.toPrecision(2)))));
  for (const list of lists) {
    let path = "";
    list.forEach((v, i) => {
      if (v !== null) path += `${i === 0 || list[i - 1] === null ? "M" : "L"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
    });
    drawn.append(part("path", { d: path, fill: "none", stroke: "#1f6f5c", "stroke-width": 0.8, opacity: 0.6 }));
  }
  const figure = document.createElement("figure");
  figure.className = "chart";
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  figure.append(caption, drawn);
  return figure;
}
