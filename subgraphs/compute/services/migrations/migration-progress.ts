import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { MigrationProgress } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { TaskProgress } from "../tasks/task-types.ts";

export interface CopyWatchParts {
  /** Of the run: breaks the copy off. */
  signal: AbortSignal;
  /** A copy of which nothing is heard for this long is broken off, in milliseconds. */
  silenceMs: number;
  tell(progress: TaskProgress): void;
  /** What the instance shows, at most once in `showMs`. What it throws breaks the copy off. */
  show(part: string): Promise<void>;
  showMs: number;
}

/** Follows the copy of a guest: tells how far it is, and breaks it off when nothing is heard of it, or nobody wants it any more. */
export class CopyWatch {
  readonly #parts: CopyWatchParts;
  readonly #broken = new AbortController();
  /** Of the call that copies. */
  readonly signal: AbortSignal;
  #shownAt = Number.NEGATIVE_INFINITY;
  #showing: Promise<void> = Promise.resolve();

  constructor(parts: CopyWatchParts) {
    this.#parts = parts;
    this.signal = AbortSignal.any([parts.signal, this.#broken.signal]);
  }

  /** Reads all of it. Gives the last frame's cookie. Throws what broke it off, or what ended it. */
  async follow(frames: AsyncIterable<MigrationProgress>): Promise<string> {
    const silence = setTimeout(() => this.#broken.abort(silent()), this.#parts.silenceMs);
    try {
      let cookie: string | null = null;
      for await (const frame of frames) {
        silence.refresh();
        if (frame.phase === "done") cookie = frame.cookie;
        this.#note(frame);
      }
      this.signal.throwIfAborted();
      if (cookie !== null) return cookie;
      throw new FleetError("CONFLICT", "The copy ended before all of the guest was there.", { reason: "MigrationFailed" });
    } catch (error) {
      throw this.signal.aborted ? this.signal.reason : error;
    } finally {
      clearTimeout(silence);
      await this.#showing;
    }
  }

  #note({ phase, currentBytes, totalBytes }: MigrationProgress): void {
    const total = totalBytes > 0 ? totalBytes : null;
    this.#parts.tell({ status: phase.slice(0, 32), currentBytes, totalBytes: total });
    const now = performance.now();
    if (now - this.#shownAt < this.#parts.showMs) return;
    this.#shownAt = now;
    const part = total === null ? phase.slice(0, 32) : `${Math.min(100, Math.floor((currentBytes / total) * 100))} %`;
    this.#showing = this.#showing.then(() => this.#parts.show(part)).catch((error: unknown) => this.#unwanted(error));
  }

  /** A database that is away for a moment breaks nothing off. */
  #unwanted(error: unknown): void {
    if (FleetError.from(error).code === "CANCELLED") this.#broken.abort(error);
  }
}

function silent(): FleetError {
  return new FleetError("CONFLICT", "Nothing was heard of the copy for too long.", { reason: "MigrationStalled" });
}
