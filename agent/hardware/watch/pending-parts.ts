import type { InventoryPart } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";

/** Events of one change come together: a device, its interfaces, its driver. */
const QUIET_MS = 30;
/** Events that go on and on do not postpone a reading beyond so many times that. */
const LONGEST_QUIETS = 3;

/** Parts of the inventory that are to be read again, collected until it is quiet for a moment. */
export class PendingParts {
  readonly #concerned: ReadonlySet<InventoryPart>;
  readonly #parts = new Set<InventoryPart>();
  #firstAt = 0;
  #quietMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #ready = new AbortController();

  /** Notes of other parts than these are dropped. */
  constructor(concerned: readonly InventoryPart[]) {
    this.#concerned = new Set(concerned);
  }

  /** `quietMs`: how long nothing is to follow before they are read; of several, the shortest counts. */
  note(parts: Iterable<InventoryPart>, quietMs = QUIET_MS): void {
    const isFirst = this.#parts.size === 0;
    const noted = [...parts].filter((part) => this.#concerned.has(part));
    if (noted.length === 0) return;
    for (const part of noted) this.#parts.add(part);
    const now = performance.now();
    if (isFirst) this.#firstAt = now;
    this.#quietMs = isFirst ? quietMs : Math.min(quietMs, this.#quietMs);
    const dueAt = Math.min(now + this.#quietMs, this.#firstAt + LONGEST_QUIETS * this.#quietMs);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#ready.abort(), Math.max(0, dueAt - now));
  }

  /** Aborts when there is something to take; another one after each `take` that gave something. */
  get ready(): AbortSignal {
    return this.#ready.signal;
  }

  /** What is due now; empty while it is not quiet yet. */
  take(): InventoryPart[] {
    if (!this.#ready.signal.aborted) return [];
    const taken = [...this.#parts];
    this.#parts.clear();
    clearTimeout(this.#timer);
    this.#ready = new AbortController();
    return taken;
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
