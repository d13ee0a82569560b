import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { Lifecycle } from "../../../platform/lifecycle.ts";
import { createLogger } from "../../../platform/observability/log.ts";

const log = createLogger({ name: "test", level: "silent" });

describe("lifecycle", () => {
  it("stops in reverse order, one after the other", async () => {
    const lifecycle = new Lifecycle(log);
    const order: string[] = [];
    lifecycle.onStop("store", () => order.push("store"));
    lifecycle.onStop("server", async () => {
      order.push("server begins");
      await sleep(5);
      order.push("server ends");
    });
    await lifecycle.stop("test");
    expect(order).toEqual(["server begins", "server ends", "store"]);
  });

  it("passes over a part that hangs, throws or rejects", async () => {
    const lifecycle = new Lifecycle(log);
    const order: string[] = [];
    lifecycle.onStop("last", () => order.push("last"));
    lifecycle.onStop("hangs", () => new Promise(() => undefined), 10);
    lifecycle.onStop("throws", () => {
      throw new Error("no");
    });
    lifecycle.onStop("rejects", async () => Promise.reject(new Error("no")));
    await lifecycle.stop("test");
    expect(order).toEqual(["last"]);
  });

  it("tells everyone at once that it stops, before the first step", async () => {
    const lifecycle = new Lifecycle(log);
    let seen = false;
    lifecycle.onStop("part", () => {
      seen = lifecycle.stopping.aborted;
    });
    await lifecycle.stop("test");
    expect(seen).toBe(true);
  });

  it("stops once, however often it is asked", async () => {
    const lifecycle = new Lifecycle(log);
    let runs = 0;
    lifecycle.onStop("part", () => {
      runs += 1;
    });
    await Promise.all([lifecycle.stop("one"), lifecycle.stop("two")]);
    expect(runs).toBe(1);
  });

  it("forgets a step that was withdrawn, and runs at once what is added too late", async () => {
    const lifecycle = new Lifecycle(log);
    const order: string[] = [];
    lifecycle.onStop("gone", () => order.push("gone"))();
    await lifecycle.stop("test");
    lifecycle.onStop("late", () => order.push("late"));
    expect(order).toEqual(["late"]);
  });

  it("exits with 0 after the first signal's stop, and with 1 at once on a second one that is not the same key press", async () => {
    vi.useFakeTimers();
    const lifecycle = new Lifecycle(log);
    const exits: number[] = [];
    const release = Promise.withResolvers<void>();
    lifecycle.onStop("slow", () => release.promise, 60_000);
    const undo = lifecycle.installSignalHandlers((code) => void exits.push(code));
    try {
      process.emit("SIGINT");
      process.emit("SIGINT");
      expect(exits).toEqual([]);
      vi.advanceTimersByTime(500);
      process.emit("SIGINT");
      expect(exits).toEqual([1]);
      release.resolve();
      await lifecycle.stop("join");
      await Promise.resolve();
      expect(exits).toEqual([1, 0]);
    } finally {
      undo();
      vi.useRealTimers();
    }
  });

  it("exits with 1 after a part failed that it cannot do without", async () => {
    const lifecycle = new Lifecycle(log);
    const exits: number[] = [];
    const undo = lifecycle.installSignalHandlers((code) => void exits.push(code));
    try {
      await lifecycle.fail("the store is gone", new Error("gone"));
      process.emit("SIGTERM");
      await lifecycle.stop("join");
      await sleep(0);
      expect(exits).toEqual([1]);
    } finally {
      undo();
    }
  });
});
