/** Above this the clocks are out of step. */
const ENTER_MS = 5_000;
/** Below this they are in step again: a lower bar, so that the condition does not flap. */
const LEAVE_MS = 4_000;
/** Two in a row: one late heartbeat, such as the first after a reconnect, is no skew. */
const HEARTBEATS = 2;

/** Tells a node's clock skew from the times on its heartbeats. Positive: the host's clock is ahead. */
export class ClockSkew {
  #skewed: boolean;
  #streak = 0;

  /** `skewed`: what the node's condition says now. */
  constructor(skewed: boolean) {
    this.#skewed = skewed;
  }

  /** The verdict after this heartbeat, where it differs from the one before: the skew in ms, `null` for in step; else undefined. */
  observe(sentAt: number | null, receivedAt: number): number | null | undefined {
    if (sentAt === null) return undefined;
    const skew = sentAt - receivedAt;
    const other = this.#skewed ? Math.abs(skew) < LEAVE_MS : Math.abs(skew) > ENTER_MS;
    this.#streak = other ? this.#streak + 1 : 0;
    if (this.#streak < HEARTBEATS) return undefined;
    this.#streak = 0;
    this.#skewed = !this.#skewed;
    return this.#skewed ? skew : null;
  }
}
