import { describe, expect, it } from "vitest";
import { dayOf, daysBetween, endOf, momentOf, shownTime } from "../src/clock";

const ZURICH = "Europe/Zurich"; // UTC+1, and +2 from 2024-03-31 01:00Z to 2024-10-27 01:00Z
const YANGQUAN = "Asia/Shanghai"; // UTC+8

describe("the city's clock", () => {
  it.each([
    [YANGQUAN, "2024-05-01", "2024-04-30T16:00:00Z"],
    [ZURICH, "2024-03-31", "2024-03-30T23:00:00Z"],
    [ZURICH, "2024-04-01", "2024-03-31T22:00:00Z"],
    [ZURICH, "2024-10-28", "2024-10-27T23:00:00Z"],
    [ZURICH, "2024-07-01T12:30:00", "2024-07-01T10:30:00Z"],
    [ZURICH, "2024-07-01T12:30:00+08:00", "2024-07-01T04:30:00Z"],
  ])("in %s means %s as %s", (zone, text, moment) => {
    expect(momentOf(text, zone)).toBe(Date.parse(moment));
  });

  it("knows the day of a moment, and its end", () => {
    for (const zone of [YANGQUAN, ZURICH])
      for (const day of ["2024-03-31", "2024-10-27", "2024-12-31"]) {
        expect(dayOf(momentOf(day, zone), zone)).toBe(day);
        expect(dayOf(momentOf(endOf(day), zone), zone)).toBe(day);
        expect(dayOf(momentOf(endOf(day), zone) + 1000, zone)).not.toBe(day);
      }
  });

  it("counts days across the change to summer time", () => {
    const days = daysBetween(momentOf("2024-03-30T12:00:00", ZURICH), momentOf("2024-04-02", ZURICH), ZURICH);
    expect(days.map((day) => new Date(day).toISOString())).toEqual(["2024-03-30T23:00:00.000Z", "2024-03-31T22:00:00.000Z"]);
  });

  it("shows a moment as the city's clock does", () => {
    expect(shownTime(Date.parse("2024-04-30T16:05:00Z"), YANGQUAN, "en-GB")).toBe("01/05/2024, 00:05:00");
  });
});
