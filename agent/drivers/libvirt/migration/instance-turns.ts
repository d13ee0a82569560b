/** One at a time for each instance, in the order in which they came. */
export class InstanceTurns {
  readonly #last = new Map<string, Promise<unknown>>();

  async use<T>(instanceId: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(instanceId) ?? Promise.resolve();
    const mine = before.then(work, work);
    const settled = mine.catch(() => undefined);
    this.#last.set(instanceId, settled);
    try {
      return await mine;
    } finally {
      if (this.#last.get(instanceId) === settled) this.#last.delete(instanceId);
    }
  }
}
