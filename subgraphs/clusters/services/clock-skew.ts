/** Above this the clocks are out of step. */
const ENTER_MS = 5_000;
/** Below this they are in step again: a lower bar, so that the condition does not flap. */
const LEAVE_MS = 4_000;
/** Two in a row: one late heartbeat, such as the first after a reconnect, is no skew. */
const HEARTBEATS = 2;

/** Tells nodes' clock skew from the times on their heartbeats. Positive: the host's clock is ahead. */
export class ClockSkews {
  /** Heartbeats in a row that spoke for the other verdict; nodes without one are not in here. */
  readonly #streaks = new Map<string, number>();

  /**
   * `skewed`: the verdict so far. Where this heartbeat turns it round, the skew in ms, or `null` for in step; else undefined.
   * `sentAt` and `receivedAt`: milliseconds since the epoch.
   */
  observe(nodeId: string, skewed: boolean, sentAt: number | null, receivedAt: number): number | null | undefined {
    if (sentAt === null) return undefined;
    const skew = sentAt - receivedAt;
    if (skewed ? Math.abs(skew) >= LEAVE_MS : Math.abs(skew) <= ENTER_MS) {
      this.#streaks.delete(nodeId);
      return undefined;
    }
    const streak = (this.#streaks.get(nodeId) ?? 0) + 1;
    if (streak < HEARTBEATS) {
      this.#streaks.set(nodeId, streak);
      return undefined;
    }
    this.#streaks.delete(nodeId);
    return skewed ? null : skew;
  }
}
