import { expect, test, vi } from "vitest";
import { LatestReading } from "../../../agent/latest-reading.ts";

test("a reading that comes in time is what is given; a slow one is given to who asks later", async () => {
  vi.useFakeTimers();
  try {
    let answer = Promise.withResolvers<string>();
    const read = vi.fn(() => answer.promise);
    const latest = new LatestReading(read, { initial: "nothing yet", waitMs: 2000 });
    const first = latest.get();
    await vi.advanceTimersByTimeAsync(2000);
    expect(await first).toBe("nothing yet");
    // Nobody asks the host twice at once.
    const second = latest.get();
    expect(read).toHaveBeenCalledTimes(1);
    answer.resolve("slow");
    expect(await second).toBe("slow");
    answer = Promise.withResolvers();
    answer.resolve("fast");
    expect(await latest.get()).toBe("fast");
    expect(read).toHaveBeenCalledTimes(2);
  } finally {
    vi.useRealTimers();
  }
});

test("one that fails leaves the one before", async () => {
  let fails = false;
  const latest = new LatestReading(async () => (fails ? Promise.reject(new Error("away")) : "there"), { initial: "", waitMs: 1000 });
  expect(await latest.get()).toBe("there");
  fails = true;
  expect(await latest.get()).toBe("there");
});
