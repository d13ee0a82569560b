/** How much earlier than the control plane this side counts a lease as over. */
const MARGIN_MS = 5000;

/**
 * Whether this agent may still act on a host that it stands for. The control plane gives the host to another agent when the node's lease has
 * run out; here it runs out earlier, because it is counted from the sending of the last heartbeat that was accepted. Both by monotonic clocks.
 */
export class BridgingLease {
  readonly #lost = new AbortController();
  #until = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Aborts when it has run out, once and for good. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** `sentAt`: when the accepted call was sent, as performance.now() counts. */
  renew(sentAt: number, leaseTtlMs: number): void {
    this.#until = Math.max(this.#until, sentAt + Math.max(leaseTtlMs / 2, leaseTtlMs - MARGIN_MS));
    this.#arm();
  }

  /** For good: the control plane has taken the host away. */
  end(why: string): void {
    clearTimeout(this.#timer);
    this.#lost.abort(new Error(why));
  }

  #arm(): void {
    clearTimeout(this.#timer);
    if (this.#lost.signal.aborted) return;
    const remaining = this.#until - performance.now();
    if (remaining <= 0) this.end("No heartbeat of this host was accepted for its lease.");
    // After a pause of this process the timer fires at once, before anything else is begun.
    else this.#timer = setTimeout(() => this.#arm(), remaining);
  }
}
