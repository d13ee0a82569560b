/** Many at a time, or one alone. One that waits to be alone goes before those that come after it. */
export class SharedLock {
  /** Resolves when all that came before are done. */
  #alone: Promise<void> = Promise.resolve();
  readonly #sharing = new Set<Promise<unknown>>();

  async shared<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#alone;
    const running = before.then(work);
    const settled = running.then(
      () => undefined,
      () => undefined,
    );
    this.#sharing.add(settled);
    void settled.then(() => this.#sharing.delete(settled));
    return await running;
  }

  async alone<T>(work: () => Promise<T>): Promise<T> {
    const running = Promise.all([this.#alone, ...this.#sharing]).then(work);
    this.#alone = running.then(
      () => undefined,
      () => undefined,
    );
    return await running;
  }
}
