export interface KeepaliveLimits {
  intervalMs: number;
  /** Pings without any sign of life after which the other side counts as gone. */
  unanswered: number;
}

export const KEEPALIVE_LIMITS: KeepaliveLimits = { intervalMs: 5000, unanswered: 5 };

/**
 * Pings a daemon that says nothing, and gives it up when it stays silent. Counts its own ticks, not the clock: a process that was stopped
 * for a while does not take the daemon for dead.
 */
export class Keepalive {
  readonly #limits: KeepaliveLimits;
  readonly #ping: () => void;
  readonly #onDead: () => void;
  readonly #timer: NodeJS.Timeout;
  #heard = true;
  #unanswered = 0;

  constructor(limits: KeepaliveLimits, ping: () => void, onDead: () => void) {
    this.#limits = limits;
    this.#ping = ping;
    this.#onDead = onDead;
    this.#timer = setInterval(() => this.#tick(), limits.intervalMs);
  }

  /** Something came from the other side. */
  heard(): void {
    this.#heard = true;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #tick(): void {
    if (this.#heard) {
      this.#heard = false;
      this.#unanswered = 0;
      return;
    }
    if (this.#unanswered >= this.#limits.unanswered) {
      this.stop();
      this.#onDead();
      return;
    }
    this.#unanswered += 1;
    this.#ping();
  }
}
