/** How far the fetch of an image is. */
export interface FetchProgress {
  status: "waiting" | "downloading" | "unpacking" | "checking";
  currentBytes: number;
  /** Null: not known. */
  totalBytes: number | null;
}

export const WAITING: FetchProgress = { status: "waiting", currentBytes: 0, totalBytes: null };

const EVERY_MS = 500;

/** Tells how far something is: at most twice a second, a new status at once, and nothing twice in a row. */
export class Pace {
  readonly #tell: (progress: FetchProgress) => void;
  #last: FetchProgress | null = null;
  #at = Number.NEGATIVE_INFINITY;

  constructor(tell: (progress: FetchProgress) => void) {
    this.#tell = tell;
  }

  say(progress: FetchProgress): void {
    const now = performance.now();
    const isNew = progress.status !== this.#last?.status;
    if (!isNew && (now - this.#at < EVERY_MS || isSame(progress, this.#last))) return;
    this.#last = progress;
    this.#at = now;
    this.#tell(progress);
  }
}

/** For people: "fetching the image: 42 %", or how much is there where nobody knows how much will be. */
export function activityOf({ status, currentBytes, totalBytes }: FetchProgress): string {
  if (status === "waiting") return "waiting for other images to be fetched";
  if (status === "checking") return "checking the image";
  const doing = status === "unpacking" ? "unpacking the image" : "fetching the image";
  // Engines do not say how far they are with that.
  if (status === "unpacking" && currentBytes === totalBytes) return doing;
  if (totalBytes !== null && totalBytes > 0) return `${doing}: ${Math.floor((currentBytes / totalBytes) * 100)} %`;
  return currentBytes === 0 ? doing : `${doing}: ${Math.floor(currentBytes / 2 ** 20)} MiB`;
}

function isSame(a: FetchProgress, b: FetchProgress | null): boolean {
  return a.currentBytes === b?.currentBytes && a.totalBytes === b.totalBytes;
}
