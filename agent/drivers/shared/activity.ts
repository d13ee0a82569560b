const EVERY_MS = 500;

/** Tells what takes long: at most twice a second, and nothing twice in a row. */
export class Activity {
  readonly #tell: (activity: string) => void;
  #last = "";
  #at = Number.NEGATIVE_INFINITY;

  constructor(tell: (activity: string) => void) {
    this.#tell = tell;
  }

  say(activity: string): void {
    const now = performance.now();
    if (activity === this.#last || now - this.#at < EVERY_MS) return;
    this.#last = activity;
    this.#at = now;
    this.#tell(activity);
  }
}

/** "fetching the image: 42 %", or how much is there where nobody knows how much will be. */
export function fetchActivity(received: number, total: number | null): string {
  if (total === null || total === 0) return `fetching the image: ${Math.floor(received / 2 ** 20)} MiB`;
  return `fetching the image: ${Math.floor((received / total) * 100)} %`;
}
