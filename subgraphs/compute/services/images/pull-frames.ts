import { setTimeout as sleep } from "node:timers/promises";
import type { LogEvent } from "../../../kit/events/event.ts";
import type { TaskView } from "../tasks/task-types.ts";
import { type ImagePullView, isOver, pullView } from "./pull-view.ts";

export interface PullFramesOptions {
  id: string;
  /** As they are now. */
  tasks: readonly TaskView[];
  /** What becomes of them from then on, or from a little before. */
  events: AsyncIterableIterator<LogEvent<TaskView>>;
  /** Ends the frames, without an error. */
  signal: AbortSignal;
  /** Between two frames, at least, in milliseconds. */
  pauseMs: number;
}

/** The pull as it is, then whenever it has changed, and at last as it ended. Of a reader that is slow, only the newest is kept. */
export async function* pullFrames(options: PullFramesOptions): AsyncGenerator<ImagePullView, void> {
  const { id, signal, pauseMs } = options;
  const follow = new TaskFollow(options.tasks, options.events);
  try {
    for (;;) {
      const frame = pullView(id, [...follow.tasks.values()]);
      yield frame;
      if (isOver(frame)) return;
      await sleep(pauseMs, undefined, { signal });
      await follow.change(signal);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await follow.stop();
  }
}

/** Keeps tasks up to date by their events. */
class TaskFollow {
  readonly tasks: Map<string, TaskView>;
  readonly #events: AsyncIterableIterator<LogEvent<TaskView>>;
  readonly #done: Promise<void>;
  #hasChanged = false;
  #failure: { error: unknown } | null = null;
  #wake: () => void = () => undefined;

  constructor(tasks: readonly TaskView[], events: AsyncIterableIterator<LogEvent<TaskView>>) {
    this.tasks = new Map(tasks.map((task) => [task.id, task]));
    this.#events = events;
    this.#done = this.#follow();
  }

  /** Resolves when something has changed since the last time. Rejects with what ended the events, or with the signal. */
  async change(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (!this.#hasChanged && this.#failure === null) {
      const woken = Promise.withResolvers<void>();
      this.#wake = woken.resolve;
      signal.addEventListener("abort", this.#wake, { once: true });
      await woken.promise;
      signal.removeEventListener("abort", this.#wake);
    }
    signal.throwIfAborted();
    if (this.#failure !== null) throw this.#failure.error;
    this.#hasChanged = false;
  }

  async stop(): Promise<void> {
    await this.#events.return?.();
    await this.#done;
  }

  async #follow(): Promise<void> {
    try {
      for await (const { object } of this.#events) {
        if (object === null) continue;
        this.tasks.set(object.id, object);
        this.#hasChanged = true;
        this.#wake();
      }
    } catch (error) {
      this.#failure = { error };
      this.#wake();
    }
  }
}
