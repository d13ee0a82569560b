import type { ResolvedEvent } from "./event-stream.ts";

/** More than a client can be ahead of the shared stream for long. */
const MAX_REMEMBERED = 512;

/** Where the shared stream goes on for a client: at once, or behind an event that it will still bring but the client has already. */
export type Continuation = { readonly behind: string } | { readonly skipUntil: string };

/**
 * The positions that a client has passed on its own catch-up, by which it is put onto the shared stream without gap or repeat.
 *
 * Cursors are opaque: all that is known is that equal cursors of one subscription are equal positions, that both streams bring the same
 * events in the same order, and that a BOOKMARK is a position without an event. So the client may move over wherever both have been at
 * one position: either its own last position is in the shared stream's recent past, or the shared stream arrives at a position that the
 * client has passed, and then repeats up to the client's last event what is to be skipped.
 */
export class DeliveredPositions {
  #passed: { cursor: string; bookmark: boolean }[] = [];
  /** A snapshot's events are positions in the snapshot; only what follows its BOOKMARK is comparable with other streams. */
  #comparable: boolean;

  constructor(start: { snapshot: boolean }) {
    this.#comparable = !start.snapshot;
  }

  record({ cursor, bookmark }: Pick<ResolvedEvent, "cursor" | "bookmark">): void {
    if (bookmark) this.#comparable = true;
    // Behind an event whose position is unknown, nothing is known until the next.
    if (cursor === null) this.#passed = [];
    else this.#passed.push({ cursor, bookmark });
    if (this.#passed.length > MAX_REMEMBERED) this.#passed.splice(0, MAX_REMEMBERED / 2);
  }

  /** Cursors behind any of which the shared stream would continue exactly, if it has been there. */
  candidates(): string[] {
    const last = this.#passed.at(-1);
    if (!this.#comparable || !last) return [];
    const event = last.bookmark ? this.#passed.findLast(({ bookmark }) => !bookmark) : undefined;
    return event ? [last.cursor, event.cursor] : [last.cursor];
  }

  /** What to do where the shared stream has just come to a cursor; null where that tells nothing. */
  continuation(sharedCursor: string): Continuation | null {
    if (!this.#comparable) return null;
    const index = this.#passed.findLastIndex(({ cursor }) => cursor === sharedCursor);
    if (index < 0) return null;
    const ahead = this.#passed.slice(index + 1).findLast(({ bookmark }) => !bookmark);
    return ahead ? { skipUntil: ahead.cursor } : { behind: sharedCursor };
  }
}
