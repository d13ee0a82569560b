import { type Change, changeKey } from "./object-state.ts";
import { type Position, plain } from "./position.ts";

/** A change as it was told. */
export interface ToldChange extends Change {
  at: Date;
  position: Position;
}

/** Where a watch goes on: at this number in the ring, when the ring comes to it, or only from the state that the API had then. */
export type Place = { number: number } | "ahead" | "not-here";

const MAX_GAPS = 64;

export interface RingLimits {
  maxChanges: number;
  maxBytes: number;
}

/** The latest changes of a watched state without a gap, numbered, bounded in number and in length of their JSON. */
export class ChangeRing {
  readonly #limits: RingLimits;
  #changes: ToldChange[] = [];
  /** Index of the oldest change; what is before it is dropped in bulk. */
  #start = 0;
  #bytes = 0;
  /** Number of the change at index 0. */
  #offset = 0;
  /** Before the oldest change. */
  #base: number;
  #head: number;
  /** Between two revisions of which the ring knows only the difference, it knows no state. */
  #gaps: Array<{ from: number; to: number }> = [];

  constructor(limits: RingLimits, revision: number) {
    this.#limits = limits;
    this.#base = revision;
    this.#head = revision;
  }

  /** The revision up to which everything is known. */
  get head(): number {
    return this.#head;
  }

  /** Number of the next change to come. */
  get next(): number {
    return this.#offset + this.#changes.length;
  }

  /** A change of its own revision, or none: only the revision is further. */
  advance(revision: number, change: Change | null): void {
    if (change) this.#push({ ...change, at: new Date(), position: plain(revision) });
    this.#head = revision;
  }

  /** Everything that is different in a list taken after a gap. Its last change is at the plain revision again. */
  advanceBy(changes: readonly Change[], revision: number): void {
    const at = new Date();
    const from = this.#head;
    this.#gaps = this.#gaps.filter(({ to }) => to > this.#base);
    this.#gaps.push({ from, to: revision });
    // What is before a gap that is forgotten is forgotten, too.
    if (this.#gaps.length > MAX_GAPS) this.#base = Math.max(this.#base, this.#gaps.shift()?.to ?? 0);
    for (const change of changes) {
      const position = change === changes.at(-1) ? plain(revision) : within(change, from, revision);
      this.#push({ ...change, at, position });
    }
    this.#head = revision;
  }

  /** Up to `limit` changes from this number on; null where some of them are no longer here. */
  read(number: number, limit: number): ToldChange[] | null {
    const index = number - this.#offset;
    return index < this.#start ? null : this.#changes.slice(index, index + limit);
  }

  /** Where who stands at this position goes on. Not for positions within a snapshot. */
  locate({ revision, difference }: Position): Place {
    if (difference) {
      const index = this.#changes.findLastIndex(
        ({ position }) =>
          position.revision === revision && position.difference?.from === difference.from && position.difference.after === difference.after,
      );
      return index < this.#start ? "not-here" : { number: this.#offset + index + 1 };
    }
    if (revision > this.#head) return "ahead";
    if (revision < this.#base || this.#gaps.some(({ from, to }) => from < revision && revision < to)) return "not-here";
    let index = this.#changes.length;
    while (index > this.#start && (this.#changes[index - 1] as ToldChange).position.revision > revision) index -= 1;
    return { number: this.#offset + index };
  }

  #push(change: ToldChange): void {
    this.#changes.push(change);
    this.#bytes += change.json.length;
    const { maxChanges, maxBytes } = this.#limits;
    while (this.#changes.length - this.#start > maxChanges || (this.#bytes > maxBytes && this.#start < this.#changes.length)) {
      const dropped = this.#changes[this.#start] as ToldChange;
      this.#bytes -= dropped.json.length;
      this.#base = dropped.position.revision;
      this.#start += 1;
    }
    if (this.#start > 64 && this.#start * 2 > this.#changes.length) {
      this.#changes = this.#changes.slice(this.#start);
      this.#offset += this.#start;
      this.#start = 0;
    }
  }
}

/** The position behind one change of a difference, except its last. */
export function within(change: Change, from: number, revision: number): Position {
  return { revision, snapshotAfter: null, difference: { from, after: changeKey(change) } };
}
