import { createHash } from "node:crypto";
import type { Dispatcher } from "undici";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { Backoff, pause } from "../../../control-plane/backoff.ts";
import { HEAD_BYTES, imageFacts } from "./image-format.ts";
import { discard, failed, type ImageHttp, reasonOf, TransferBroken } from "./image-http.ts";

/** Where the bytes go. One that is not finished is aborted, and leaves nothing. */
export interface TransferSink {
  write(chunk: Uint8Array): Promise<void>;
  finish(transferred: Transferred): Promise<void>;
  abort(): Promise<void>;
}

export interface TransferLimits {
  maxBytes: number;
  /** In a row, without coming further than before. */
  maxAttempts: number;
  retryPauseMs: number;
}

export interface TransferOptions {
  http: ImageHttp;
  url: string;
  limits: TransferLimits;
  /** `bytes`: how many there will be, null where the server does not say. Refuses what does not fit. */
  openSink: (bytes: number | null) => Promise<TransferSink>;
  onProgress: (received: number, total: number | null) => void;
  signal: AbortSignal;
}

export interface Transferred {
  bytes: number;
  sha256: string;
}

type Headers = Dispatcher.ResponseData["headers"];

const LONGEST_PAUSE_MS = 10_000;

/**
 * One image, from its first byte to its last, over as many requests as it takes. A broken transfer goes on where it broke if the server says
 * that the file is still the same (If-Range), otherwise it begins again. What is no image is refused by its first bytes, before
 * anything is stored.
 */
export class ImageTransfer {
  readonly #options: TransferOptions;
  #received = 0;
  #furthest = 0;
  #total: number | null = null;
  /** A strong ETag or a date, by which the server knows this very file. */
  #validator: string | null = null;
  #hash = createHash("sha256");
  /** The first bytes, kept back until they have shown what they are; null once they were passed on. */
  #head: Buffer[] | null = [];
  #sink: TransferSink | null = null;

  constructor(options: TransferOptions) {
    this.#options = options;
  }

  /** To be called once. */
  async run(): Promise<Transferred> {
    try {
      await this.#receiveAll();
      await this.#passHead();
      const transferred = { bytes: this.#received, sha256: this.#hash.digest("hex") };
      await this.#sink?.finish(transferred);
      return transferred;
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

  /** One request; returns when the last byte is there. */
  async #receive(): Promise<void> {
    const { http, url, limits, signal } = this.#options;
    const resuming = this.#received > 0 && this.#validator !== null;
    const range: Record<string, string> = resuming ? { range: `bytes=${this.#received}-`, "if-range": this.#validator ?? "" } : {};
    const { statusCode, headers, body } = await http.get(url, range, signal);
    try {
      checkStatus(statusCode, headers);
      if (statusCode === 200) await this.#beginAgain(headers);
      else if (!resuming || !this.#continues(statusCode, headers)) {
        // The next request asks for the whole file.
        this.#validator = null;
        throw new TransferBroken("the server does not have the part that was asked for");
      }
      for await (const chunk of body as AsyncIterable<Buffer>) {
        this.#received += chunk.length;
        const end = Math.min(limits.maxBytes, this.#total ?? Number.POSITIVE_INFINITY);
        if (this.#received > end) throw tooLarge(end);
        await this.#take(chunk);
        this.#furthest = Math.max(this.#furthest, this.#received);
        this.#options.onProgress(this.#received, this.#total);
      }
    } catch (error) {
      throw error instanceof FleetError || error instanceof TransferBroken || signal.aborted
        ? error
        : new TransferBroken(reasonOf(error), { cause: error });
    } finally {
      discard(body);
    }
    if (this.#total !== null && this.#received < this.#total) throw new TransferBroken("the connection ended too early");
  }

  /** Whether this is the rest of the same file. */
  #continues(status: number, headers: Headers): boolean {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(String(headers["content-range"] ?? ""));
    if (status !== 206 || range === null || Number(range[1]) !== this.#received) return false;
    if (this.#total !== null && range[2] !== "*" && Number(range[2]) !== this.#total) return false;
    const { etag } = headers;
    return !this.#validator?.startsWith('"') || etag === undefined || etag === this.#validator;
  }

  async #beginAgain(headers: Headers): Promise<void> {
    await this.#sink?.abort();
    this.#sink = null;
    this.#head = [];
    this.#received = 0;
    this.#hash = createHash("sha256");
    const length = Number(headers["content-length"] ?? Number.NaN);
    this.#total = Number.isSafeInteger(length) ? length : null;
    if (this.#total !== null && this.#total > this.#options.limits.maxBytes) throw tooLarge(this.#options.limits.maxBytes);
    const etag = headers["etag"];
    const modified = headers["last-modified"];
    if (typeof etag === "string" && etag.startsWith('"')) this.#validator = etag;
    else this.#validator = typeof modified === "string" ? modified : null;
  }

  async #take(chunk: Buffer): Promise<void> {
    if (this.#head === null) {
      this.#hash.update(chunk);
      await this.#sink?.write(chunk);
      return;
    }
    this.#head.push(chunk);
    if (this.#received >= HEAD_BYTES) await this.#passHead();
  }

  /** Looks at the first bytes, and passes them on. A short file is all head. */
  async #passHead(): Promise<void> {
    if (this.#head === null) return;
    const head = Buffer.concat(this.#head);
    const short = head.length < HEAD_BYTES ? head.length : Number.MAX_SAFE_INTEGER;
    imageFacts("at that URL", null, head.subarray(0, HEAD_BYTES), this.#total ?? short);
    this.#sink = await this.#options.openSink(this.#total);
    this.#head = null;
    this.#hash.update(head);
    await this.#sink.write(head);
  }
}

function checkStatus(status: number, headers: Headers): void {
  if (status === 416) return;
  if (status === 408 || status === 429 || status >= 500) throw new TransferBroken(`the server answered ${status}`);
  if (status === 404 || status === 410) {
    throw new FleetError("FAILED_PRECONDITION", `There is no image at that URL: the server answered ${status}.`, {
      reason: "ImageNotFound",
    });
  }
  if (status !== 200 && status !== 206) throw failed(`The server answered ${status}.`);
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity") throw failed(`The server sends it as ${String(encoding)}, not as it is.`);
}

function tooLarge(limit: number): FleetError {
  return new FleetError("FAILED_PRECONDITION", `The image at that URL is larger than ${limit} bytes.`, { reason: "ImageTooLarge" });
}
