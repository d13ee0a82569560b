/** Images that are about to be used: a disk is being made on them. Nobody removes one as long as it is held. */
export class ImagePins {
  readonly #held = new Map<string, number>();

  hold(path: string): Disposable {
    this.#held.set(path, (this.#held.get(path) ?? 0) + 1);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        const left = (this.#held.get(path) ?? 1) - 1;
        if (left === 0) this.#held.delete(path);
        else this.#held.set(path, left);
      },
    };
  }

  has(path: string): boolean {
    return this.#held.has(path);
  }
}
