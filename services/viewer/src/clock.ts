/** The city's clock: days and times are shown and meant as people in the city have them, wherever the browser is. */

const parts = (timeZone: string) =>
  new Intl.DateTimeFormat("en-CA", {
    timeZone,
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });

/** The clock's reading at a moment, as the UTC moment of the same digits. */
function reading(moment: number, timeZone: string): number {
  const of = Object.fromEntries(parts(timeZone).formatToParts(moment).map((p) => [p.type, Number(p.value)]));
  return Date.UTC(of.year!, of.month! - 1, of.day, of.hour, of.minute, of.second);
}

/** The moment of an ISO 8601 text in milliseconds; without an offset it is by the city's clock. */
export function momentOf(text: string, timeZone: string): number {
  if (/(Z|[+-]\d\d:?\d\d)$/i.test(text)) return Date.parse(text);
  const digits = Date.parse(`${text.includes("T") ? text : `${text}T00:00:00`}Z`);
  const near = digits - (reading(digits, timeZone) - digits);
  return near - (reading(near, timeZone) - digits); // once more, with the offset that holds there
}

/** The day, as 2024-05-01, in which a moment lies. */
export const dayOf = (moment: number, timeZone: string): string => new Date(reading(moment, timeZone)).toISOString().slice(0, 10);

/** The last second of a day, which the server reads by the city's clock. */
export const endOf = (day: string): string => `${day}T23:59:59`;

/** The first moments of the days that begin after one moment and before another. */
export function daysBetween(first: number, last: number, timeZone: string): number[] {
  const days = [];
  for (let noon = Date.parse(`${dayOf(first, timeZone)}T12:00:00Z`) + 86_400_000; ; noon += 86_400_000) {
    const day = momentOf(new Date(noon).toISOString().slice(0, 10), timeZone);
    if (day >= last) return days;
    days.push(day);
  }
}

export const shownTime = (moment: number, timeZone: string, language: string): string => new Date(moment).toLocaleString(language, { timeZone });
export const shownDay = (moment: number, timeZone: string, language: string): string =>
  new Date(moment).toLocaleDateString(language, { timeZone, month: "numeric", day: "numeric" });
