/** From a domain to a range, straight; a domain without length lies at the range's beginning. */
export function linear([from, to]: [number, number], [start, end]: [number, number]): (value: number) => number {
  const length = to - from || 1;
  return (value) => start + ((value - from) / length) * (end - start);
}

/** The least of the values and of `floor`, and the greatest of the values; without any both are `floor`. */
export function domainOf(values: readonly (number | null)[], floor: number): [number, number] {
  let [low, high] = [floor, floor];
  let first = true;
  for (const value of values) {
    if (value === null) continue;
    low = Math.min(low, value);
    high = first ? value : Math.max(high, value);
    first = false;
  }
  return [low, high];
}

/** A line as an SVG path; where values lack, it breaks. */
export function brokenPath(values: readonly (number | null)[], x: (position: number) => number, y: (value: number) => number): string {
  let path = "";
  values.forEach((value, i) => {
    if (value === null) return;
    const begins = (values[i - 1] ?? null) === null;
    path += `${begins ? "M" : "L"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
  });
  return path;
}
