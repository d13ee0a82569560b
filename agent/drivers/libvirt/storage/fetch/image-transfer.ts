import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { Backoff, pause } from "../../../../control-plane/backoff.ts";
import { type ByteSource, type OpenedBytes, RestMissing, TransferBroken } from "./byte-source.ts";
import { failed, reasonOf, tooLarge } from "./fetch-errors.ts";

/** Where the bytes go. One that is not finished is aborted, and leaves nothing. */
export interface TransferSink<T> {
  write(chunk: Uint8Array): Promise<void>;
  finish(): Promise<T>;
  abort(): Promise<void>;
}

export interface TransferLimits {
  /** As it is served. */
  maxBytes: number;
  /** In a row, without coming further than before. */
  maxAttempts: number;
  retryPauseMs: number;
}

export interface TransferOptions<T> {
  source: ByteSource;
  limits: TransferLimits;
  /** For each beginning. `bytes`: how many there will be, null where nobody says. */
  openSink: (bytes: number | null) => TransferSink<T>;
  onProgress: (received: number, total: number | null) => void;
  /** The last byte is there; the sink is about to finish. */
  onReceived: (received: number) => void;
  signal: AbortSignal;
}

export interface Transferred<T> {
  result: T;
  /** By which the source knows this very file later. */
  validator: string | null;
}

const LONGEST_PAUSE_MS = 10_000;

/**
 * One file, from its first byte to its last, over as many attempts as it takes. A broken transfer goes on where it broke if the source says
 * that the file is still the same, otherwise it begins again.
 */
export class ImageTransfer<T> {
  readonly #options: TransferOptions<T>;
  #received = 0;
  #furthest = 0;
  #total: number | null = null;
  #validator: string | null = null;
  #sink: TransferSink<T> | null = null;

  constructor(options: TransferOptions<T>) {
    this.#options = options;
  }

  /** To be called once. */
  async run(): Promise<Transferred<T>> {
    try {
      await this.#receiveAll();
      const sink = this.#sink;
      if (sink === null) throw new Error("A transfer ended before it began.");
      this.#options.onReceived(this.#received);
      return { result: await sink.finish(), validator: this.#validator };
    } catch (error) {
      await this.#sink?.abort();
      throw error;
    }
  }

  async #receiveAll(): Promise<void> {
    const { limits, signal } = this.#options;
    const backoff = new Backoff({ firstMs: limits.retryPauseMs, longestMs: Math.max(limits.retryPauseMs, LONGEST_PAUSE_MS) });
    for (let failures = 0; ; ) {
      const before = this.#furthest;
      try {
        await this.#receive();
        return;
      } catch (error) {
        if (signal.aborted) throw FleetError.from(signal.reason);
        if (!(error instanceof TransferBroken)) throw error;
        failures = this.#furthest > before ? 1 : failures + 1;
        if (this.#furthest > before) backoff.reset();
        if (failures >= limits.maxAttempts) throw failed(`${failures} attempts in a row failed, the last one so: ${error.message}.`, error);
      }
      await pause(backoff.next(), signal);
    }
  }

  /** One attempt; returns when the last byte is there. */
  async #receive(): Promise<void> {
    const { source, signal } = this.#options;
    const validator = this.#validator;
    const resume = this.#received > 0 && validator !== null ? { offset: this.#received, validator } : null;
    // The next attempt asks for the whole file, unless this one gets what it asks for or nothing at all.
    const opened = await source.open(resume, signal).catch((error: unknown) => {
      if (error instanceof RestMissing) this.#validator = null;
      throw error;
    });
    try {
      await this.#begin(opened);
      for await (const chunk of whileItLasts(opened.body)) await this.#take(chunk);
    } finally {
      await opened.close();
    }
    if (this.#total !== null && this.#received < this.#total) throw new TransferBroken("the connection ended too early");
  }

  async #begin({ offset, total, validator }: OpenedBytes): Promise<void> {
    if (offset > 0) {
      if (total === null || this.#total === null || total === this.#total) return;
      this.#validator = null;
      throw new TransferBroken("the file has another size now");
    }
    await this.#sink?.abort();
    this.#received = 0;
    this.#total = total;
    this.#validator = validator;
    this.#sink = null;
    const { maxBytes } = this.#options.limits;
    if (total !== null && total > maxBytes) throw tooLarge(maxBytes);
    this.#sink = this.#options.openSink(total);
  }

  async #take(chunk: Uint8Array): Promise<void> {
    const { limits, onProgress } = this.#options;
    this.#received += chunk.length;
    const end = Math.min(limits.maxBytes, this.#total ?? Number.POSITIVE_INFINITY);
    if (this.#received > end) throw tooLarge(end);
    await this.#sink?.write(chunk);
    this.#furthest = Math.max(this.#furthest, this.#received);
    onProgress(this.#received, this.#total);
  }
}

/** What ends the bytes is worth another attempt; what ends those who take them is not. */
async function* whileItLasts(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* body;
  } catch (error) {
    throw error instanceof FleetError ? error : new TransferBroken(reasonOf(error), { cause: error });
  }
}
