import { expect, test, vi } from "vitest";
import type { Instance } from "../../../subgraphs/compute/entities/instance.ts";
import { NodeQueue } from "../../../subgraphs/compute/services/node-queue.ts";

const CONFIG = { perNode: 4, firstPauseMs: 10, longestPauseMs: 10 };

test("a pause that ends while the queue looks at it holds nothing back for good", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  let now = 0;
  const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
  try {
    let pending = [{ id: "inst-1" } as Instance];
    let answers = 0;
    const queue = new NodeQueue({
      config: CONFIG,
      isReachable: () => {
        // Looking takes time: the pause is not over before, and over afterwards.
        const before = now;
        queueMicrotask(() => {
          now = before + 100;
        });
        return true;
      },
      load: async () => pending,
      tell: async () => {
        answers += 1;
        if (answers === 1) return "unreachable";
        pending = [];
        return "done";
      },
      onIdle: () => undefined,
      onError: (error) => {
        throw error;
      },
    });
    queue.wake();
    await vi.advanceTimersByTimeAsync(1000);
    expect(answers).toBe(2);
    await queue.stop();
  } finally {
    clock.mockRestore();
    vi.useRealTimers();
  }
});
