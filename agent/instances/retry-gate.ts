import { Backoff } from "../control-plane/backoff.ts";

/** The host's software is away, or busy. */
const SOON = { firstMs: 500, longestMs: 30_000 };
/** What failed for a reason of its own, and has to be done all the same. */
const LATER = { firstMs: 5000, longestMs: 300_000 };
/** The same step this often without an effect is not going to have one. */
const MAX_IN_VAIN = 3;
const MAX_ATTEMPTS = 3;

/** Lets steps through, but for pauses after failures and for those that are carried out again and again without an effect. */
export class RetryGate {
  readonly #soon = new Backoff(SOON);
  readonly #later = new Backoff(LATER);
  readonly #onOpen: () => void;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #last = "";
  #repeats = 0;

  /** `onOpen` is called when a pause is over. */
  constructor(onOpen: () => void) {
    this.#onOpen = onOpen;
  }

  /** Whether a step that failed in a way that may pass is worth another attempt. */
  get mayTryAgain(): boolean {
    return this.#failures < MAX_ATTEMPTS;
  }

  admits(step: string): boolean {
    if (this.#timer !== undefined) return false;
    this.#repeats = step === this.#last ? this.#repeats + 1 : 1;
    this.#last = step;
    if (this.#repeats <= MAX_IN_VAIN) return true;
    this.#pause(this.#later.next());
    return false;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#soon.reset();
  }

  /** Nothing is to be done now. */
  settled(): void {
    this.#repeats = 0;
    this.#last = "";
    this.succeeded();
  }

  /** Something failed that may pass. Gives how often that happened in a row. */
  close(): number {
    this.#failures += 1;
    this.#repeats = 0;
    this.#pause(this.#soon.next());
    return this.#failures;
  }

  closeForLong(): void {
    this.#pause(this.#later.next());
  }

  /** Ends a pause early, and forgets what led to it. */
  open(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#later.reset();
    this.settled();
  }

  dispose(): void {
    clearTimeout(this.#timer);
  }

  #pause(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#repeats = 0;
      this.#onOpen();
    }, ms);
  }
}
