import { FleetError } from "../../platform/errors/fleet-error.ts";

/** One of those who type. */
export interface Writer {
  readonly key: string;
  /** As others are told. */
  subject: string;
  /** The sequence number that its next input is to have. */
  nextSequence: number;
}

/** Those who typed before, so that what they repeat is known. */
const MAX_KNOWN = 64;

/** Who types in a session: at most one at a time, until somebody takes over. */
export class Writers {
  readonly #known = new Map<string, Writer>();
  #current: Writer | null = null;

  get current(): Writer | null {
    return this.#current;
  }

  /** This one types from now on, where nobody does or `takeOver` says so. Null: another one does. `changed`: that is new. */
  claim(key: string, subject: string, takeOver: boolean): { writer: Writer; changed: boolean } | null {
    const { current } = this;
    if (current !== null && current.key !== key && !takeOver) return null;
    const writer = this.#known.get(key) ?? { key, subject, nextSequence: 1 };
    const changed = current?.key !== key || current.subject !== subject;
    writer.subject = subject;
    this.#known.delete(key);
    this.#known.set(key, writer);
    for (const old of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) break;
      this.#known.delete(old);
    }
    this.#current = writer;
    return { writer, changed };
  }

  /** FAILED_PRECONDITION NotTheWriter. */
  demand(key: string): Writer {
    const { current } = this;
    if (current?.key === key) return current;
    throw new FleetError("FAILED_PRECONDITION", "Another one types in this console: take it over.", {
      reason: "NotTheWriter",
      details: { writer: current?.subject ?? "" },
    });
  }
}
