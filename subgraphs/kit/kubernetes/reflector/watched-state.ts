import { ChangeRing, type RingLimits } from "./change-ring.ts";
import { difference, type ObjectState } from "./object-state.ts";

/** The objects as they are known, the latest changes, and who is told when there is more. */
export class WatchedState {
  readonly #limits: RingLimits;
  readonly #listeners = new Set<() => void>();
  #objects = new Map<string, string>();
  #ring: ChangeRing | null = null;
  /** Length of all JSON that is kept, in characters. */
  #bytes = 0;

  constructor(limits: RingLimits) {
    this.#limits = limits;
  }

  /** Null until the objects were listed once. */
  get ring(): ChangeRing | null {
    return this.#ring;
  }

  /** By uid; to be read within the turn. */
  get objects(): ObjectState {
    return this.#objects;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** What a list says. Returns false where time went back, and positions of before mean nothing any more. */
  replace(objects: Map<string, string>, revision: number): boolean {
    const goesOn = this.#ring === null || revision >= this.#ring.head;
    if (this.#ring && goesOn) this.#ring.advanceBy(difference(this.#objects, objects), revision);
    else this.#ring = new ChangeRing(this.#limits, revision);
    this.#objects = objects;
    this.#bytes = 0;
    for (const json of objects.values()) this.#bytes += json.length;
    this.#tell();
    return goesOn;
  }

  /** What a watch says of one object at a revision behind the head: `json` as it is now, null where it is gone. */
  take(uid: string, json: string | null, revision: number): void {
    const ring = this.#ring as ChangeRing;
    const old = this.#objects.get(uid);
    if (json === null) {
      this.#objects.delete(uid);
      ring.advance(revision, old === undefined ? null : { type: "DELETED", uid, json: old });
    } else if (old === json) {
      ring.advance(revision, null);
    } else {
      this.#objects.set(uid, json);
      ring.advance(revision, { type: old === undefined ? "ADDED" : "MODIFIED", uid, json });
    }
    this.#bytes += (this.#objects.get(uid)?.length ?? 0) - (old?.length ?? 0);
    this.#tell();
  }

  /** Nothing has changed up to this revision. */
  advance(revision: number): void {
    this.#ring?.advance(revision, null);
    this.#tell();
  }

  /** `listener` is called within the turn of each change; it must be cheap and not throw. Returns an undo. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Returns at the next change, after the time, or with the signal. */
  changed(signal: AbortSignal, timeoutMs: number | null): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = timeoutMs === null ? undefined : setTimeout(() => finish(), timeoutMs);
      const undo = this.onChange(() => finish());
      const finish = () => {
        clearTimeout(timer);
        undo();
        signal.removeEventListener("abort", finish);
        resolve();
      };
      signal.addEventListener("abort", finish, { once: true });
    });
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }
}
