import { beforeEach, describe, expect, test } from "vitest";
import { LeaseTable } from "../../../subgraphs/clusters/services/lease-table.ts";
import { isMassExpiry } from "../../../subgraphs/clusters/services/mass-expiry.ts";
import { PauseDetector } from "../../../subgraphs/clusters/services/pause-detector.ts";

const TTL = 30_000;
let now = 0;
const clock = () => now;
const expiredIds = (table: LeaseTable) => table.expired().map(({ id }) => id);

beforeEach(() => {
  now = 1_000;
});

describe("a lease", () => {
  test("runs for its time from the last heartbeat, by the receiver's clock alone", () => {
    const table = new LeaseTable(TTL, clock);
    // The wall-clock time that goes with a heartbeat is for people: however absurd, it decides nothing.
    table.beat("a", 0);
    now += TTL - 1;
    expect(expiredIds(table)).toEqual([]);
    table.beat("a", 9e15);
    now += TTL - 1;
    expect(expiredIds(table)).toEqual([]);
    now += 1;
    expect(expiredIds(table)).toEqual(["a"]);
    expect(table.isExpired("a")).toBe(true);
  });

  test("is given in full to every node that is found in the database after a start", () => {
    const table = new LeaseTable(TTL, clock);
    table.observe([{ id: "a", beats: 7 }], now);
    now += TTL - 1;
    expect(expiredIds(table)).toEqual([]);
    now += 1;
    expect(table.expired()).toEqual([{ id: "a", beats: 7 }]);
  });

  test("is renewed by a counter that another replica moved, not by one that stands still", () => {
    const table = new LeaseTable(TTL, clock);
    const rows = (beats: number) => [
      { id: "a", beats },
      { id: "still", beats: 1 },
    ];
    table.observe(rows(1), now);
    now += 20_000;
    table.observe(rows(2), now);
    now += 20_000;
    table.observe(rows(2), now);
    expect(expiredIds(table)).toEqual(["still"]);
  });

  test("is not renewed by the counter that this process moved itself", () => {
    const table = new LeaseTable(TTL, clock);
    table.beat("a", 1);
    table.observe([{ id: "a", beats: 4 }], now);
    const heard = table.takeUnwritten();
    table.written(heard.keys());
    now += 10_000;
    table.observe([{ id: "a", beats: 5 }], now);
    now += TTL - 10_000;
    expect(expiredIds(table)).toEqual(["a"]);
  });

  test("is not lengthened by the first look at the counter of a node that was first heard of here", () => {
    const table = new LeaseTable(TTL, clock);
    table.beat("a", 1);
    now += 10_000;
    table.observe([{ id: "a", beats: 9 }], now);
    now += TTL - 10_000;
    expect(expiredIds(table)).toEqual(["a"]);
  });

  test("ends where the database no longer lists the node, unless it was heard of since the list was read", () => {
    const table = new LeaseTable(TTL, clock);
    table.observe([{ id: "gone", beats: 1 }], now);
    now += 100;
    const readAt = now;
    now += 1;
    table.beat("new", 1);
    table.observe([], readAt);
    expect(table.size).toBe(1);
    expect(table.isExpired("gone")).toBe(false);
  });

  test("starts anew for all after a pause", () => {
    const table = new LeaseTable(TTL, clock);
    table.observe([{ id: "a", beats: 1 }], now);
    now += 10 * TTL;
    table.grantAll();
    expect(expiredIds(table)).toEqual([]);
    now += TTL;
    expect(expiredIds(table)).toEqual(["a"]);
  });
});

describe("what was heard", () => {
  test("is taken once, and put back where it could not be written, behind what came since", () => {
    const table = new LeaseTable(TTL, clock);
    table.beat("a", 1);
    table.beat("b", 1);
    const heard = table.takeUnwritten();
    expect(table.takeUnwritten().size).toBe(0);
    table.beat("a", 2);
    table.putBack(heard);
    expect(table.takeUnwritten()).toEqual(
      new Map([
        ["a", 2],
        ["b", 1],
      ]),
    );
  });
});

describe("a pause of the process", () => {
  test("is a gap between two looks that is longer than it may be", () => {
    const pauses = new PauseDetector(5_000, clock);
    now += 5_000;
    expect(pauses.look()).toBeNull();
    now += 5_001;
    expect(pauses.look()).toBe(5_001);
    expect(pauses.look()).toBeNull();
  });
});

describe("a mass expiry", () => {
  test("is more than 30 % of the nodes that were alive", () => {
    expect(isMassExpiry(0, 0)).toBe(false);
    expect(isMassExpiry(30, 70)).toBe(false);
    expect(isMassExpiry(31, 69)).toBe(true);
    expect(isMassExpiry(1, 0)).toBe(true);
  });
});
