import { describe, expect, test } from "vitest";
import { DeliveredPositions } from "../../../gateway/subscriptions/delivered-positions.ts";

function passed(positions: (string | null)[], snapshot = false): DeliveredPositions {
  const delivered = new DeliveredPositions({ snapshot });
  // "b:…" stands for a bookmark.
  for (const text of positions) delivered.record({ cursor: text?.replace(/^b:/, "") ?? null, bookmark: text?.startsWith("b:") ?? false });
  return delivered;
}

describe("A client that catches up", () => {
  test("continues behind its last event, or behind the bookmark that followed it", () => {
    expect(passed(["1", "2"]).candidates()).toEqual(["2"]);
    expect(passed(["1", "2", "b:5"]).candidates()).toEqual(["5", "2"]);
    expect(passed([]).candidates()).toEqual([]);
  });

  test("goes over at once where the shared stream comes to its last position, and skips what it is ahead", () => {
    const delivered = passed(["1", "2", "b:2", "3", "b:4"]);
    expect(delivered.continuation("3")).toEqual({ behind: "3" });
    expect(delivered.continuation("4")).toEqual({ behind: "4" });
    expect(delivered.continuation("2")).toEqual({ skipUntil: "3" });
    expect(delivered.continuation("1")).toEqual({ skipUntil: "3" });
    expect(delivered.continuation("0")).toBeNull();
  });

  test("compares nothing before its snapshot is complete", () => {
    const delivered = passed(["s1", "s2"], true);
    expect([delivered.candidates(), delivered.continuation("s2")]).toEqual([[], null]);
    delivered.record({ cursor: "9", bookmark: true });
    expect([delivered.candidates(), delivered.continuation("9")]).toEqual([["9", "s2"], { behind: "9" }]);
  });

  test("knows nothing behind an event without a position, until the next one", () => {
    const delivered = passed(["1", null]);
    expect([delivered.candidates(), delivered.continuation("1")]).toEqual([[], null]);
    delivered.record({ cursor: "3", bookmark: false });
    expect(delivered.continuation("3")).toEqual({ behind: "3" });
  });

  test("remembers a bounded number of positions", () => {
    const delivered = passed(Array.from({ length: 5_000 }, (_, index) => String(index)));
    expect(delivered.continuation("0")).toBeNull();
    expect(delivered.continuation("4990")).toEqual({ skipUntil: "4999" });
  });
});
