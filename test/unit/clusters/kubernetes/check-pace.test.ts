import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { CheckLanes } from "../../../../subgraphs/clusters/services/kubernetes/health/check-lanes.ts";
import { pauseAfter } from "../../../../subgraphs/clusters/services/kubernetes/health/check-pace.ts";

const pace = { intervalMs: 60_000, confirmMs: 5_000, longestMs: 300_000 };
const never = new AbortController().signal;

describe("the pace of checks", () => {
  test("a first failure is looked at again soon, a dead cluster seldom", () => {
    const pauses = [0, 1, 2, 3, 4, 5, 6, 1_000].map((failures) => pauseAfter(failures, pace, () => 0));
    expect(pauses).toEqual([60_000, 5_000, 60_000, 120_000, 240_000, 300_000, 300_000, 300_000]);
  });

  test("spread by a tenth, and a longer interval is no less for the dead", () => {
    expect(pauseAfter(0, pace, () => 0.5)).toBe(63_000);
    expect(pauseAfter(0, pace, () => 1)).toBeCloseTo(66_000);
    expect(pauseAfter(9, { ...pace, intervalMs: 600_000 }, () => 0)).toBe(600_000);
    expect(pauseAfter(1, { ...pace, intervalMs: 100 }, () => 0)).toBe(100);
  });
});

describe("the lanes of checks", () => {
  test("at most so many at once, and what fails lets the next one in", async () => {
    const lanes = new CheckLanes({ atOnce: 2, slowMs: 60_000 });
    let [running, most] = [0, 0];
    const checks = Array.from({ length: 10 }, (_, index) =>
      lanes.run(
        false,
        async () => {
          most = Math.max(most, ++running);
          await sleep(2);
          running -= 1;
          if (index % 2 === 0) throw new Error("It failed.");
        },
        never,
      ),
    );
    const ended = await Promise.allSettled(checks);
    expect(most).toBe(2);
    expect(ended.filter(({ status }) => status === "rejected")).toHaveLength(5);
  });

  test("checks that hang, be they doubtful or usual, do not hold up the usual ones", async () => {
    const lanes = new CheckLanes({ atOnce: 2, slowMs: 20 });
    const hang = Promise.withResolvers<void>();
    const hanging = [true, true, true, false, false, false].map((doubtful) => lanes.run(doubtful, () => hang.promise, never));
    let done = 0;
    const count = async () => {
      done += 1;
    };
    await Promise.all(Array.from({ length: 5 }, () => lanes.run(false, count, never)));
    expect(done).toBe(5);
    hang.resolve();
    await Promise.all(hanging);
  });

  test("whoever waits leaves by its signal", async () => {
    const lanes = new CheckLanes({ atOnce: 1, slowMs: 60_000 });
    const hang = Promise.withResolvers<void>();
    const first = lanes.run(true, () => hang.promise, never);
    const leaving = new AbortController();
    const second = lanes.run(true, async () => undefined, leaving.signal);
    leaving.abort(new Error("gone"));
    await expect(second).rejects.toThrow("gone");
    hang.resolve();
    await first;
  });
});
