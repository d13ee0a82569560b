import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { ProgressWriter } from "../../../../subgraphs/compute/services/tasks/progress-writer.ts";
import type { TaskProgress } from "../../../../subgraphs/compute/services/tasks/task-types.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

function open(write: (progress: TaskProgress) => Promise<void>) {
  const errors: unknown[] = [];
  return { errors, writer: new ProgressWriter({ pauseMs: 1_000, write, onError: (error) => errors.push(error) }) };
}

test("the first is written at once, then the newest of each second, with what was said before it", async () => {
  const written: TaskProgress[] = [];
  const { writer } = open(async (progress) => void written.push(progress));
  writer.add({ status: "downloading", totalBytes: 100 });
  for (let currentBytes = 1; currentBytes <= 50; currentBytes += 1) writer.add({ currentBytes });
  await vi.advanceTimersByTimeAsync(999);
  expect(written).toEqual([{ status: "downloading", totalBytes: 100 }]);
  await vi.advanceTimersByTimeAsync(2);
  expect(written.slice(1)).toEqual([{ currentBytes: 50 }]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(written).toHaveLength(2);
});

test("one write at a time, and who writes anyhow waits for it and takes what is left", async () => {
  const slow = Promise.withResolvers<void>();
  const written: TaskProgress[] = [];
  const { writer } = open(async (progress) => {
    written.push(progress);
    await slow.promise;
  });
  writer.add({ currentBytes: 1 });
  writer.add({ currentBytes: 2 });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(written).toEqual([{ currentBytes: 1 }]);
  const taken = writer.take();
  slow.resolve();
  expect(await taken).toEqual({ currentBytes: 2 });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(written).toHaveLength(1);
});

test("a write that fails is told and the next one is made; nothing is written once it is closed", async () => {
  let writes = 0;
  const { writer, errors } = open(async () => {
    writes += 1;
    throw new Error("no database");
  });
  writer.add({ currentBytes: 1 });
  writer.add({ currentBytes: 2 });
  await vi.advanceTimersByTimeAsync(1_001);
  expect([writes, errors.length]).toEqual([2, 2]);
  writer.add({ currentBytes: 3 });
  await writer.close();
  writer.add({ currentBytes: 4 });
  await vi.advanceTimersByTimeAsync(5_000);
  expect(writes).toBe(2);
});
