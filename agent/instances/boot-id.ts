/** Which boot of its machine an agent's host is in: asked once, and again after `forget`. */
export class BootId {
  readonly #read: () => Promise<string>;
  #known: Promise<string> | null = null;

  constructor(read: () => Promise<string>) {
    this.#read = read;
  }

  ask(): Promise<string> {
    if (this.#known !== null) return this.#known;
    const asked = this.#read();
    this.#known = asked;
    // An answer that did not come is asked for again.
    asked.catch(() => {
      if (this.#known === asked) this.#known = null;
    });
    return asked;
  }

  forget(): void {
    this.#known = null;
  }
}
