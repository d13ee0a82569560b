import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { fetchActivity } from "../../shared/activity.ts";
import { FetchJob } from "../../shared/fetch-job.ts";
import { Slots } from "../../shared/slots.ts";
import type { FetchedImages } from "./fetched-images.ts";
import { failed, type HttpLimits, ImageHttp } from "./image-http.ts";
import type { ImageInspector } from "./image-inspector.ts";
import { ImageTransfer, type TransferLimits } from "./image-transfer.ts";
import { ImageUrlRules, withoutSecrets } from "./image-url.ts";
import type { StoragePool, Volume } from "./storage-pool.ts";
import { VolumeSink } from "./volume-sink.ts";

export interface FetchLimits extends HttpLimits, TransferLimits {
  /** For one image, whatever happens. */
  totalTimeoutMs: number;
  /** Images at a time; others wait. */
  concurrent: number;
}

export const FETCH_LIMITS: FetchLimits = {
  maxBytes: 256 * 2 ** 30,
  idleTimeoutMs: 30_000,
  connectTimeoutMs: 15_000,
  totalTimeoutMs: 6 * 3_600_000,
  maxRedirects: 5,
  maxAttempts: 5,
  retryPauseMs: 1000,
  concurrent: 2,
};

export interface FetcherOptions {
  pool: StoragePool;
  images: FetchedImages;
  inspector: ImageInspector;
  log: Logger;
  urlPrefixes: readonly string[];
  limits: FetchLimits;
}

/** Brings images by URL into the image pool: each once, however many instances want it, and never again. */
export class ImageFetcher {
  readonly #options: FetcherOptions;
  readonly #rules: ImageUrlRules;
  readonly #http: ImageHttp;
  readonly #slots: Slots;
  readonly #jobs = new Map<string, FetchJob<Volume>>();
  readonly #closing = new AbortController();

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#rules = new ImageUrlRules(options.urlPrefixes);
    this.#http = new ImageHttp(this.#rules, options.limits);
    this.#slots = new Slots(options.limits.concurrent);
  }

  /** The volume with the image of a URL. What the host does not allow is refused even where it is here. */
  async fetch(text: string, onActivity: (activity: string) => void, signal: AbortSignal): Promise<Volume> {
    const { url } = this.#rules.check(text);
    for (;;) {
      signal.throwIfAborted();
      if (this.#closing.signal.aborted) throw new FleetError("UNAVAILABLE", "The agent is stopping.");
      const job = this.#jobs.get(url.href) ?? this.#begin(url);
      if (!job.givenUp) return await job.wait(onActivity, signal);
      // It is removing what it has.
      await job.over;
    }
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    const jobs = [...this.#jobs.values()];
    for (const job of jobs) job.giveUp();
    await Promise.all(jobs.map((job) => job.over));
    await this.#http.close();
  }

  #begin(url: URL): FetchJob<Volume> {
    const job = new FetchJob((tell, signal) => this.#findOrFetch(url, tell, signal));
    this.#jobs.set(url.href, job);
    void job.over.then(() => this.#jobs.delete(url.href));
    return job;
  }

  async #findOrFetch(url: URL, tell: (activity: string) => void, signal: AbortSignal): Promise<Volume> {
    const found = await this.#options.images.find(url.href, signal);
    if (found !== null) return found;
    const waiting = () => tell("waiting for other images to be fetched");
    return await this.#slots.use(() => this.#fetchInTime(url, tell, signal), signal, waiting);
  }

  async #fetchInTime(url: URL, tell: (activity: string) => void, caller: AbortSignal): Promise<Volume> {
    const { totalTimeoutMs } = this.#options.limits;
    const timeout = AbortSignal.timeout(totalTimeoutMs);
    try {
      return await this.#fetch(url, tell, AbortSignal.any([caller, timeout]));
    } catch (error) {
      if (timeout.aborted && !caller.aborted) throw failed(`It took longer than ${Math.round(totalTimeoutMs / 60_000)} minutes.`, error);
      throw error;
    }
  }

  async #fetch(url: URL, tell: (activity: string) => void, signal: AbortSignal): Promise<Volume> {
    const { pool, images, inspector, limits, log } = this.#options;
    const shown = withoutSecrets(url);
    const startedAt = performance.now();
    log.info({ url: shown }, "fetching an image");
    tell("fetching the image");
    await images.clear(url.href, signal);
    try {
      const transfer = new ImageTransfer({
        http: this.#http,
        url: url.href,
        limits,
        openSink: (bytes) => VolumeSink.open({ pool, images, inspector, url: url.href, bytes, log, signal }),
        onProgress: (received, total) => tell(fetchActivity(received, total)),
        signal,
      });
      const transferred = await transfer.run();
      log.info({ url: shown, ...transferred, seconds: Math.round((performance.now() - startedAt) / 1000) }, "fetched an image");
    } catch (error) {
      log.warn({ url: shown, err: error }, "an image was not fetched");
      throw error;
    }
    const volume = await images.find(url.href, signal);
    if (volume === null) throw failed("It vanished from the image directory as soon as it was there.");
    return volume;
  }
}
