import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SharedLock } from "../../../../agent/drivers/libvirt/storage/shared-lock.ts";
import { activityOf, type FetchProgress, Pace, WAITING } from "../../../../agent/drivers/shared/activity.ts";
import { FetchJob } from "../../../../agent/drivers/shared/fetch-job.ts";
import { Slots } from "../../../../agent/drivers/shared/slots.ts";

const never = new AbortController().signal;
const ignored = () => undefined;

const fetched = (currentBytes: number, totalBytes: number | null): FetchProgress => ({ status: "downloading", currentBytes, totalBytes });

/** Lets all that is ready go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

describe("what takes long", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("is told twice a second at most, and not twice in the same words", () => {
    const said: string[] = [];
    const pace = new Pace((progress) => said.push(activityOf(progress)));
    for (let ms = 0; ms < 2000; ms += 10) {
      pace.say(fetched(Math.floor(ms / 1000), 2));
      vi.advanceTimersByTime(10);
    }
    expect(said).toEqual(["fetching the image: 0 %", "fetching the image: 50 %"]);
    for (let ms = 0; ms < 1000; ms += 10) {
      pace.say(fetched(ms, 1000));
      vi.advanceTimersByTime(10);
    }
    expect(said).toHaveLength(4);
  });

  it("is told at once where something else is done", () => {
    const said: string[] = [];
    const pace = new Pace(({ status }) => said.push(status));
    for (const status of ["waiting", "downloading", "unpacking", "checking"] as const) pace.say({ ...WAITING, status });
    expect(said).toEqual(["waiting", "downloading", "unpacking", "checking"]);
  });

  it("is a share of what will come, or else what is there", () => {
    expect(activityOf(fetched(999, 1000))).toBe("fetching the image: 99 %");
    expect(activityOf(fetched(3.9 * 2 ** 20, null))).toBe("fetching the image: 3 MiB");
    expect(activityOf(fetched(0, null))).toBe("fetching the image");
    expect(activityOf({ status: "unpacking", currentBytes: 1, totalBytes: 4 })).toBe("unpacking the image: 25 %");
  });
});

describe("a job that several wait for", () => {
  it("tells all of them, also what was told before they came", async () => {
    const work = Promise.withResolvers<string>();
    const job = new FetchJob((tell) => {
      setImmediate(() => tell(fetched(1, 2)));
      return work.promise;
    });
    const said: FetchProgress[][] = [[], []];
    const first = job.wait((progress) => said[0]?.push(progress), never);
    await settle();
    const second = job.wait((progress) => said[1]?.push(progress), never);
    work.resolve("image");
    expect(await Promise.all([first, second])).toEqual(["image", "image"]);
    expect(said).toEqual([[fetched(1, 2)], [fetched(1, 2)]]);
  });

  it("goes on as long as one waits, and is given up with the last", async () => {
    let signal: AbortSignal | undefined;
    const job = new FetchJob<string>((_tell, given) => {
      signal = given;
      return new Promise((_resolve, reject) => given.addEventListener("abort", () => reject(given.reason)));
    });
    const controllers = [new AbortController(), new AbortController()];
    const waiting = controllers.map((controller) =>
      expect(job.wait(ignored, controller.signal)).rejects.toMatchObject({ code: "CANCELLED" }),
    );
    controllers[0]?.abort();
    await waiting[0];
    expect([signal?.aborted, job.givenUp]).toEqual([false, false]);
    controllers[1]?.abort();
    await waiting[1];
    expect([signal?.aborted, job.givenUp]).toEqual([true, true]);
    await job.over;
  });
});

describe("slots", () => {
  it("let so many work at a time, and the others in their order", async () => {
    const slots = new Slots(2);
    const order: number[] = [];
    const ends = Array.from({ length: 5 }, () => Promise.withResolvers<void>());
    const work = ends.map((end, index) =>
      slots.use(
        () => {
          order.push(index);
          return end.promise;
        },
        never,
        ignored,
      ),
    );
    await settle();
    expect(order).toEqual([0, 1]);
    ends[1]?.reject(new Error("failed"));
    await expect(work[1]).rejects.toThrow("failed");
    await settle();
    expect(order).toEqual([0, 1, 2]);
    for (const end of ends) end.resolve();
    await Promise.allSettled(work);
    expect(order).toEqual([0, 1, 2, 3, 4]);
  });

  it("are not lost by those who give up while they wait, even at the moment of their turn", async () => {
    const slots = new Slots(1);
    const end = Promise.withResolvers<void>();
    const working = slots.use(() => end.promise, never, ignored);
    const controllers = [new AbortController(), new AbortController()];
    let waits = 0;
    const waiting = controllers.map(({ signal }) =>
      slots.use(
        async () => "done",
        signal,
        () => {
          waits += 1;
        },
      ),
    );
    controllers[0]?.abort();
    await expect(waiting[0]).rejects.toMatchObject({ code: "CANCELLED" });
    controllers[1]?.abort();
    end.resolve();
    await working;
    await Promise.allSettled(waiting);
    expect(waits).toBe(2);
    expect(await slots.use(async () => "free", never, ignored)).toBe("free");
  });
});

describe("a shared lock", () => {
  it("lets one be alone, between those who share", async () => {
    const lock = new SharedLock();
    const events: string[] = [];
    const ends = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const step = (name: string, end?: Promise<void>) => async () => {
      events.push(`${name} begins`);
      await end;
      events.push(`${name} ends`);
    };
    const all = [
      lock.shared(step("a", ends[0]?.promise)),
      lock.shared(step("b")),
      lock.alone(step("alone", ends[1]?.promise)),
      lock.shared(step("c")),
      lock.alone(step("last")),
    ];
    await settle();
    expect(events).toEqual(["a begins", "b begins", "b ends"]);
    ends[0]?.resolve();
    await settle();
    expect(events.slice(3)).toEqual(["a ends", "alone begins"]);
    ends[1]?.resolve();
    await Promise.all(all);
    expect(events.slice(5)).toEqual(["alone ends", "c begins", "c ends", "last begins", "last ends"]);
  });

  it("goes on after work that fails", async () => {
    const lock = new SharedLock();
    await expect(lock.alone(() => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
    await expect(lock.shared(() => Promise.reject(new Error("failed")))).rejects.toThrow("failed");
    expect(await lock.alone(async () => 1)).toBe(1);
    expect(await lock.shared(async () => 2)).toBe(2);
  });
});
