import type { TaskProgress } from "./task-types.ts";

export interface ProgressWriterParts {
  /** Between two writes, in milliseconds. */
  pauseMs: number;
  write(progress: TaskProgress): Promise<void>;
  onError(error: unknown): void;
}

/** Writes the newest progress, one write at a time, with a pause in between: however often somebody tells it. */
export class ProgressWriter {
  readonly #parts: ProgressWriterParts;
  #due: TaskProgress | null = null;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | null = null;
  #writtenAt = Number.NEGATIVE_INFINITY;
  #closed = false;

  constructor(parts: ProgressWriterParts) {
    this.#parts = parts;
  }

  add(progress: TaskProgress): void {
    if (this.#closed) return;
    this.#due = { ...this.#due, ...progress };
    this.#schedule();
  }

  /** What is not written yet, for somebody who writes anyhow: after the write that is under way, which would undo theirs. */
  async take(): Promise<TaskProgress> {
    await this.#writing;
    const due = this.#due ?? {};
    this.#due = null;
    this.#writtenAt = performance.now();
    return due;
  }

  /** Waits for the write that is under way; nothing is written afterwards. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#writing;
  }

  #schedule(): void {
    if (this.#closed || this.#due === null || this.#writing !== null || this.#timer !== undefined) return;
    const waitMs = this.#writtenAt + this.#parts.pauseMs - performance.now();
    if (waitMs <= 0) this.#write();
    else {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#write();
      }, Math.ceil(waitMs));
      this.#timer.unref();
    }
  }

  #write(): void {
    if (this.#closed || this.#due === null) return;
    const due = this.#due;
    this.#due = null;
    this.#writing = this.#parts
      .write(due)
      .catch((error: unknown) => this.#parts.onError(error))
      .finally(() => {
        this.#writing = null;
        this.#writtenAt = performance.now();
        this.#schedule();
      });
  }
}
