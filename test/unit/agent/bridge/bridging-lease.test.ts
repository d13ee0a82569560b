import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { BridgingLease } from "../../../../agent/bridge/bridging-lease.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

test("ends five seconds before the control plane's, counted from the sending", () => {
  const lease = new BridgingLease();
  const sentAt = performance.now();
  vi.advanceTimersByTime(2000);
  lease.renew(sentAt, 30_000);
  vi.advanceTimersByTime(22_999);
  expect(lease.lost.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(lease.lost.aborted).toBe(true);
});

test("is renewed by each heartbeat that was taken, and never by an older one", () => {
  const lease = new BridgingLease();
  lease.renew(performance.now(), 30_000);
  vi.advanceTimersByTime(20_000);
  lease.renew(performance.now(), 30_000);
  lease.renew(performance.now() - 15_000, 30_000);
  vi.advanceTimersByTime(24_999);
  expect(lease.lost.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(lease.lost.aborted).toBe(true);
});

test("once lost it stays lost, whatever is taken then", () => {
  const lease = new BridgingLease();
  lease.end("another agent has the host");
  lease.renew(performance.now(), 30_000);
  expect(lease.lost.reason).toMatchObject({ message: "another agent has the host" });
  vi.advanceTimersByTime(60_000);
  expect(vi.getTimerCount()).toBe(0);
});

test("a short lease still leaves half of it", () => {
  const lease = new BridgingLease();
  lease.renew(performance.now(), 4000);
  vi.advanceTimersByTime(1999);
  expect(lease.lost.aborted).toBe(false);
  vi.advanceTimersByTime(1);
  expect(lease.lost.aborted).toBe(true);
});
