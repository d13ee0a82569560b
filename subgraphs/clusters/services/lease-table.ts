/** Milliseconds of a clock that only goes forward, such as `performance.now()`. */
export type MonotonicClock = () => number;

interface Lease {
  /** By this process's clock. */
  expiresAt: number;
  /** The counter in the database as last seen: it moves with each batch in which some replica heard of the node. */
  beats: number;
  /** When it was last heard of or looked up, by this process's clock. */
  touchedAt: number;
}

/** A node's liveness counter as it is in the database. */
export interface BeatCount {
  id: string;
  beats: number;
}

/**
 * Until when each node counts as alive, as far as this process can tell: by its own monotonic clock, and by counters that move,
 * never by a time that another machine wrote.
 */
export class LeaseTable {
  readonly #ttlMs: number;
  readonly #clock: MonotonicClock;
  readonly #leases = new Map<string, Lease>();
  /** Heard here and not written yet: the wall-clock time to show, milliseconds since the epoch. */
  #unwritten = new Map<string, number>();

  constructor(ttlMs: number, clock: MonotonicClock) {
    this.#ttlMs = ttlMs;
    this.#clock = clock;
  }

  get size(): number {
    return this.#leases.size;
  }

  /** A heartbeat came in here. */
  beat(id: string, seenAt: number): void {
    const now = this.#clock();
    this.#unwritten.set(id, seenAt);
    const lease = this.#leases.get(id);
    if (lease) {
      lease.expiresAt = now + this.#ttlMs;
      lease.touchedAt = now;
    } else {
      this.#leases.set(id, { expiresAt: now + this.#ttlMs, beats: -1, touchedAt: now });
    }
  }

  /** When the node was last heard of here, as far as that is not written yet. */
  lastSeen(id: string): number | undefined {
    return this.#unwritten.get(id);
  }

  /**
   * What the database says about every node whose lease runs, read after `readAt`: a counter that moved means that another replica
   * heard of the node since, a node that is new here gets a full lease, and one that is gone has none.
   */
  observe(rows: readonly BeatCount[], readAt: number): void {
    const now = this.#clock();
    const listed = new Set<string>();
    for (const { id, beats } of rows) {
      listed.add(id);
      const lease = this.#leases.get(id);
      if (!lease) {
        this.#leases.set(id, { expiresAt: now + this.#ttlMs, beats, touchedAt: now });
      } else if (lease.beats !== beats) {
        // The first look at the counter of a node that was first heard of here tells nothing about other replicas.
        if (lease.beats !== -1) lease.expiresAt = now + this.#ttlMs;
        lease.beats = beats;
      }
    }
    for (const [id, lease] of this.#leases) {
      // One that was heard of while the rows were read may have come too late for them.
      if (!listed.has(id) && lease.touchedAt < readAt) this.#leases.delete(id);
    }
  }

  /** Takes what is to be written: node id → wall-clock time. */
  takeUnwritten(): Map<string, number> {
    const taken = this.#unwritten;
    this.#unwritten = new Map();
    return taken;
  }

  /** It could not be written: it is taken along the next time, unless something newer came. */
  putBack(unwritten: Map<string, number>): void {
    for (const [id, seenAt] of unwritten) if (!this.#unwritten.has(id)) this.#unwritten.set(id, seenAt);
  }

  /** The write moved these counters by one; that is no news from another replica. */
  written(ids: Iterable<string>): void {
    for (const id of ids) {
      const lease = this.#leases.get(id);
      if (lease && lease.beats !== -1) lease.beats += 1;
    }
  }

  /** After a start or a pause: nobody could be heard, so nobody is to blame. */
  grantAll(): void {
    const expiresAt = this.#clock() + this.#ttlMs;
    for (const lease of this.#leases.values()) lease.expiresAt = expiresAt;
  }

  expired(): BeatCount[] {
    const now = this.#clock();
    const expired: BeatCount[] = [];
    for (const [id, { expiresAt, beats }] of this.#leases) if (expiresAt <= now) expired.push({ id, beats });
    return expired;
  }

  isExpired(id: string): boolean {
    const lease = this.#leases.get(id);
    return lease !== undefined && lease.expiresAt <= this.#clock();
  }

  /** Its lease is over, and the database knows. */
  drop(id: string): void {
    this.#leases.delete(id);
  }
}
