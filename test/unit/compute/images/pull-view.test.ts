import { describe, expect, test } from "vitest";
import { pullFrames } from "../../../../subgraphs/compute/services/images/pull-frames.ts";
import { isOver, pullView } from "../../../../subgraphs/compute/services/images/pull-view.ts";
import type { TaskView } from "../../../../subgraphs/compute/services/tasks/task-types.ts";
import type { LogEvent } from "../../../../subgraphs/kit/events/event.ts";

function task(nodeId: string, more: Partial<TaskView> = {}): TaskView {
  const isEnded = more.state !== undefined && more.state !== "QUEUED" && more.state !== "RUNNING";
  return {
    id: `task-${nodeId}`,
    kind: "IMAGE_PULL",
    state: "RUNNING",
    status: null,
    currentBytes: null,
    totalBytes: null,
    errorCode: null,
    errorReason: null,
    errorMessage: null,
    instanceId: null,
    nodeId,
    groupId: "pull-1",
    input: { imageRef: "busybox", type: "CONTAINER" },
    cancelRequested: false,
    createdBy: "ada",
    createdAt: "2026-11-01T00:00:00.000Z",
    startedAt: null,
    finishedAt: isEnded ? "2026-11-01T00:01:00.000Z" : null,
    ...more,
  };
}

const DONE = { state: "SUCCEEDED", currentBytes: 10, totalBytes: 10 } as const;
const FAILED = { state: "FAILED", errorCode: "FAILED_PRECONDITION", errorReason: "ImagePullFailed", errorMessage: "no such tag" } as const;

describe("a pull on several nodes", () => {
  test.each([
    ["WAITING", [task("a", { state: "QUEUED" })]],
    ["WAITING", [task("a", { status: "waiting" }), task("b", DONE)]],
    ["CHECKING", [task("a", { status: "checking" }), task("b", FAILED)]],
    ["UNPACKING", [task("a", { status: "checking" }), task("b", { status: "unpacking" })]],
    ["DOWNLOADING", [task("a", { status: "unpacking" }), task("b", { status: "downloading" }), task("c", { status: "waiting" })]],
    ["WAITING", [task("a", { status: "something new" })]],
    ["DONE", [task("a", DONE), task("b", DONE)]],
    ["FAILED", [task("a", DONE), task("b", FAILED), task("c", { state: "CANCELLED" })]],
    ["CANCELLED", [task("a", DONE), task("b", { state: "CANCELLED" })]],
  ] as const)("is %s", (status, tasks) => {
    const view = pullView("pull-1", tasks);
    expect(view.status).toBe(status);
    expect(view.completed).toBe(status === "DONE");
    expect(isOver(view)).toBe(["DONE", "FAILED", "CANCELLED"].includes(status));
    expect(view.error).toEqual(
      status === "FAILED" ? { code: "FAILED_PRECONDITION", reason: "ImagePullFailed", message: "no such tag" } : null,
    );
  });

  test("adds up what its nodes tell, and the total where all tell it", () => {
    const tasks = [task("b", { currentBytes: 5, totalBytes: 10 }), task("a", { currentBytes: 1 })];
    expect(pullView("pull-1", tasks)).toMatchObject({ currentBytes: 6, totalBytes: null });
    expect(pullView("pull-1", [task("a", DONE), tasks[0]!])).toMatchObject({ currentBytes: 15, totalBytes: 20 });
    expect(pullView("pull-1", tasks).tasks.map(({ nodeId }) => nodeId)).toEqual(["a", "b"]);
  });
});

/** Events as a test hands them out. */
class Events implements AsyncIterableIterator<LogEvent<TaskView>> {
  readonly #given: Array<LogEvent<TaskView>> = [];
  #waiting: PromiseWithResolvers<IteratorResult<LogEvent<TaskView>>> | null = null;
  #failure: unknown = null;
  returned = false;

  [Symbol.asyncIterator](): this {
    return this;
  }

  give(object: TaskView): void {
    this.#given.push({ type: "MODIFIED", timestamp: new Date(), cursor: "", objectId: object.id, object });
    this.#settle();
  }

  fail(error: unknown): void {
    this.#failure = error;
    this.#settle();
  }

  next(): Promise<IteratorResult<LogEvent<TaskView>>> {
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    this.#settle();
    return promise;
  }

  async return(): Promise<IteratorResult<LogEvent<TaskView>>> {
    this.returned = true;
    this.#waiting?.resolve({ done: true, value: undefined });
    return { done: true, value: undefined };
  }

  #settle(): void {
    if (this.#waiting === null) return;
    const value = this.#given.shift();
    if (value) this.#waiting.resolve({ done: false, value });
    else if (this.#failure !== null) this.#waiting.reject(this.#failure);
    else return;
    this.#waiting = null;
  }
}

describe("the frames of a pull", () => {
  const setting = (tasks: TaskView[]) => {
    const events = new Events();
    const ending = new AbortController();
    const frames = pullFrames({ id: "pull-1", tasks, events, signal: ending.signal, pauseMs: 1 });
    return { events, ending, frames, next: async () => (await frames.next()).value };
  };

  test("begin with what is, follow what changes, and end with the end", async () => {
    const { events, next } = setting([task("a"), task("b")]);
    expect(await next()).toMatchObject({ status: "WAITING" });
    events.give(task("a", { status: "downloading", currentBytes: 5 }));
    expect(await next()).toMatchObject({ status: "DOWNLOADING", currentBytes: 5 });
    events.give(task("a", DONE));
    expect(await next()).toMatchObject({ status: "WAITING", currentBytes: 10 });
    events.give(task("b", FAILED));
    expect(await next()).toMatchObject({ status: "FAILED", completed: false });
    expect(await next()).toBeUndefined();
    expect(events.returned).toBe(true);
  });

  test("are one where it is over already", async () => {
    const { next } = setting([task("a", DONE)]);
    expect(await next()).toMatchObject({ status: "DONE", completed: true });
    expect(await next()).toBeUndefined();
  });

  test("leave out what a slow reader did not see", async () => {
    const { events, next } = setting([task("a")]);
    await next();
    for (let bytes = 1; bytes <= 50; bytes += 1) events.give(task("a", { currentBytes: bytes, status: "downloading" }));
    expect(await next()).toMatchObject({ currentBytes: 50 });
  });

  test("end without an error when their reader goes away, also while nothing changes", async () => {
    const { events, next, ending } = setting([task("a")]);
    await next();
    const waiting = next();
    ending.abort();
    expect(await waiting).toBeUndefined();
    expect(events.returned).toBe(true);
  });

  test("end with the error of their events, also of one that came between two", async () => {
    const { events, next } = setting([task("a")]);
    await next();
    events.give(task("a", { currentBytes: 1 }));
    events.fail(new Error("draining"));
    await expect(next()).rejects.toThrow("draining");
    expect(events.returned).toBe(true);
  });
});
