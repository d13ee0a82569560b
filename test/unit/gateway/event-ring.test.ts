import { describe, expect, test } from "vitest";
import { EventRing } from "../../../gateway/subscriptions/event-ring.ts";

const event = (cursor: string | null, payload = "x") => ({ cursor, payload, bytes: payload.length, bookmark: false });

describe("The ring of a shared stream", () => {
  test("keeps a bounded number of events under their numbers", () => {
    const ring = new EventRing(3, 1_000);
    for (const cursor of ["a", "b", "c", "d"]) ring.push(event(cursor));
    expect([ring.first, ring.next]).toEqual([1, 4]);
    expect([ring.get(0), ring.get(1)?.cursor, ring.get(3)?.cursor, ring.get(4)]).toEqual([undefined, "b", "d", undefined]);
  });

  test("keeps a bounded number of bytes, but always the latest event", () => {
    const ring = new EventRing(100, 10);
    ring.push(event("a", "12345"));
    ring.push(event("b", "123456"));
    expect(ring.first).toBe(1);
    ring.push(event("c", "x".repeat(50)));
    expect([ring.first, ring.get(2)?.cursor]).toEqual([2, "c"]);
  });

  test("tells the number behind a cursor, the last one where several stand there, none where it is gone or broken", () => {
    const ring = new EventRing(3, 1_000);
    for (const cursor of ["a", "b", "b", null]) ring.push(event(cursor));
    expect([ring.behind("a"), ring.behind("b"), ring.behind("z")]).toEqual([undefined, 3, undefined]);
    ring.breakContinuity();
    expect([ring.behind("b"), ring.get(2)?.cursor]).toEqual([undefined, "b"]);
  });
});
