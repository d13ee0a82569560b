import { describe, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { SampleStream } from "../../../subgraphs/compute/services/sample-stream.ts";

const sample = (id: string) => ({ id, refusal: new FleetError("UNAVAILABLE", id) });

function open(interval: number) {
  const controller = new AbortController();
  const ends: number[] = [];
  const stream = new SampleStream(interval, controller.signal, () => ends.push(1));
  return { stream, ends, abort: () => controller.abort() };
}

/** The ticks of so many that the stream takes. */
function dueTicks(stream: SampleStream, from: number, to: number): number[] {
  const due: number[] = [];
  for (let tick = from; tick <= to; tick += 1) {
    if (!stream.isDue(tick)) continue;
    due.push(tick);
    stream.offer(sample(`${tick}`), tick);
  }
  return due;
}

describe("the readings of one watcher", () => {
  test("the first tick is due, then each multiple of the interval, so that equal intervals are due together", () => {
    expect(dueTicks(open(1).stream, 5, 9)).toEqual([5, 6, 7, 8, 9]);
    expect(dueTicks(open(3).stream, 4, 15)).toEqual([4, 6, 9, 12, 15]);
    expect(dueTicks(open(3).stream, 8, 15)).toEqual([8, 9, 12, 15]);
  });

  test("a tick that was missed is made up for once", () => {
    const { stream } = open(3);
    stream.offer(sample("first"), 3);
    expect(dueTicks(stream, 11, 13)).toEqual([11, 12]);
  });

  test("who reads slowly gets the newest, and nothing twice", async () => {
    const { stream } = open(1);
    for (const tick of [1, 2, 3]) stream.offer(sample(`${tick}`), tick);
    expect((await stream.next()).value?.id).toBe("3");
    const next = stream.next();
    stream.offer(sample("4"), 4);
    expect((await next).value?.id).toBe("4");
  });

  test("an error comes after what was not read yet, once; then it is done", async () => {
    const { stream, ends } = open(1);
    stream.offer(sample("1"), 1);
    stream.end(new FleetError("NOT_FOUND", "deleted"));
    expect((await stream.next()).value?.id).toBe("1");
    await expect(stream.next()).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await stream.next()).toEqual({ done: true, value: undefined });
    expect(ends).toHaveLength(1);
  });

  test("ends at once by its signal and by return, also while somebody waits", async () => {
    const first = open(1);
    const waiting = first.stream.next();
    first.abort();
    expect((await waiting).done).toBe(true);
    const second = open(1);
    const other = second.stream.next();
    await second.stream.return();
    expect((await other).done).toBe(true);
    expect([first.ends.length, second.ends.length]).toEqual([1, 1]);
    expect(first.stream.isDue(1)).toBe(false);
  });
});
