import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../../platform/observability/log.ts";
import type { FindCredential } from "../../../image-driver.ts";
import { type FetchProgress, WAITING } from "../../../shared/activity.ts";
import { FetchJob } from "../../../shared/fetch-job.ts";
import { Slots } from "../../../shared/slots.ts";
import type { FetchedImages, KeptImage } from "../fetched-images.ts";
import type { ImageInspector } from "../image-inspector.ts";
import type { PoolSpace } from "../pool-space.ts";
import type { StoragePool } from "../storage-pool.ts";
import type { ByteSource } from "./byte-source.ts";
import { failed } from "./fetch-errors.ts";
import type { FetchLimits } from "./fetch-limits.ts";
import { FileSource } from "./file-source.ts";
import { HttpSource } from "./http-source.ts";
import { ImageHttp } from "./image-http.ts";
import { ImageIntake, type TakenIn } from "./image-intake.ts";
import { ImageTransfer } from "./image-transfer.ts";
import { ImageUrlRules, withoutSecrets } from "./image-url.ts";
import { checkDigests, checkWish, factsFor, type ImageWish, isKnown } from "./image-wish.ts";
import { VolumeSink } from "./volume-sink.ts";

export interface FetcherOptions {
  pool: StoragePool;
  space: PoolSpace;
  images: FetchedImages;
  inspector: ImageInspector;
  log: Logger;
  urlPrefixes: readonly string[];
  /** Null: servers that ask for a name and a password are told none. */
  findCredential: FindCredential | null;
  limits: FetchLimits;
}

export interface FetchOptions {
  wish: ImageWish;
  /** Its source is asked, also where the image is here: it may have another one by now. */
  refresh: boolean;
}

type Tell = (progress: FetchProgress) => void;

/** A fetch, and what those who wait for it want. */
interface Job {
  fetch: FetchJob<KeptImage>;
  wishes: Set<ImageWish>;
  /** One of them does not want what is here. */
  refresh: boolean;
}

/** Brings images by URL into the image pool: each once, however many want it, and never again unless it is asked for anew. */
export class ImageFetcher {
  readonly #options: FetcherOptions;
  readonly #rules: ImageUrlRules;
  readonly #http: ImageHttp;
  readonly #slots: Slots;
  readonly #jobs = new Map<string, Job>();
  readonly #closing = new AbortController();

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#rules = new ImageUrlRules(options.urlPrefixes);
    this.#http = new ImageHttp(this.#rules, options.limits, options.findCredential);
    this.#slots = new Slots(options.limits.concurrent);
  }

  /** The URL as images are kept by. Refuses what the host does not allow. */
  check(text: string): URL {
    return this.#rules.check(text).url;
  }

  /** The image of a URL. What the host does not allow is refused even where it is here. */
  async fetch(text: string, options: FetchOptions, onProgress: Tell, signal: AbortSignal): Promise<KeptImage> {
    const url = this.check(text);
    const { wish, refresh } = options;
    for (;;) {
      signal.throwIfAborted();
      if (this.#closing.signal.aborted) throw new FleetError("UNAVAILABLE", "The agent is stopping.");
      const found = refresh ? null : await this.#options.images.find(url.href, signal);
      if (found !== null && isKnown(wish, found.record)) {
        checkWish(wish, found.record);
        return found;
      }
      const job = this.#jobs.get(url.href) ?? this.#begin(url);
      if (job.fetch.givenUp) {
        // It is removing what it has.
        await job.fetch.over;
        continue;
      }
      if (refresh || found !== null) job.refresh = true;
      const kept = await this.#join(job, wish, onProgress, signal);
      checkWish(wish, kept.record);
      return kept;
    }
  }

  /** Ends what is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    const jobs = [...this.#jobs.values()];
    for (const job of jobs) job.fetch.giveUp();
    await Promise.all(jobs.map((job) => job.fetch.over));
    await this.#http.close();
  }

  async #join(job: Job, wish: ImageWish, onProgress: Tell, signal: AbortSignal): Promise<KeptImage> {
    // One wish may be given twice: each is counted.
    const own = { ...wish };
    job.wishes.add(own);
    try {
      return await job.fetch.wait(onProgress, signal);
    } finally {
      job.wishes.delete(own);
    }
  }

  #begin(url: URL): Job {
    const wanted = { wishes: new Set<ImageWish>(), refresh: false };
    const fetch = new FetchJob<KeptImage>((tell, signal) => this.#findOrFetch(url, wanted, tell, signal));
    const job: Job = Object.assign(wanted, { fetch });
    this.#jobs.set(url.href, job);
    void fetch.over.then(() => this.#jobs.delete(url.href));
    return job;
  }

  async #findOrFetch(url: URL, job: Omit<Job, "fetch">, tell: Tell, signal: AbortSignal): Promise<KeptImage> {
    const { images } = this.#options;
    const found = await images.find(url.href, signal);
    if (found !== null && (!job.refresh || (await this.#isUnchanged(url, found, job.wishes, signal)))) return found;
    return await this.#slots.use(
      () => this.#fetchInTime(url, job.wishes, tell, signal),
      signal,
      () => tell(WAITING),
    );
  }

  /** By what its source says, without fetching it again. A source that cannot be asked now is asked again by the transfer. */
  async #isUnchanged(url: URL, { record }: KeptImage, wishes: ReadonlySet<ImageWish>, signal: AbortSignal): Promise<boolean> {
    if (record.validator === null || ![...wishes].every((wish) => isKnown(wish, record))) return false;
    try {
      return await this.#source(url).isUnchanged(record.validator, signal);
    } catch {
      return false;
    }
  }

  async #fetchInTime(url: URL, wishes: ReadonlySet<ImageWish>, tell: Tell, caller: AbortSignal): Promise<KeptImage> {
    const { totalTimeoutMs } = this.#options.limits;
    const timeout = AbortSignal.timeout(totalTimeoutMs);
    try {
      return await this.#fetch(url, wishes, tell, AbortSignal.any([caller, timeout]));
    } catch (error) {
      if (timeout.aborted && !caller.aborted) throw failed(`It took longer than ${Math.round(totalTimeoutMs / 60_000)} minutes.`, error);
      throw error;
    }
  }

  async #fetch(url: URL, wishes: ReadonlySet<ImageWish>, tell: Tell, signal: AbortSignal): Promise<KeptImage> {
    const { images, limits, log } = this.#options;
    const shown = withoutSecrets(url);
    const startedAt = performance.now();
    log.info({ url: shown }, "fetching an image");
    tell({ status: "downloading", currentBytes: 0, totalBytes: null });
    try {
      await images.clear(signal);
      const transfer = new ImageTransfer({
        source: this.#source(url),
        limits,
        openSink: (bytes) => this.#intake(url, bytes, wishes, signal),
        onProgress: (currentBytes, totalBytes) => tell({ status: "downloading", currentBytes, totalBytes }),
        onReceived: (bytes) => tell({ status: "checking", currentBytes: bytes, totalBytes: bytes }),
        signal,
      });
      const { result, validator } = await transfer.run();
      const kept = await this.#keep(url, result, validator, wishes, signal);
      const { size, sha256 } = kept.record;
      const seconds = Math.round((performance.now() - startedAt) / 1000);
      log.info({ url: shown, served: result.served.bytes, size, sha256, seconds }, "fetched an image");
      return kept;
    } catch (error) {
      log.warn({ url: shown, err: error }, "an image was not fetched");
      throw error;
    }
  }

  #intake(url: URL, servedBytes: number | null, wishes: ReadonlySet<ImageWish>, signal: AbortSignal): ImageIntake {
    const { pool, space, images, limits, log } = this.#options;
    return new ImageIntake({
      servedBytes,
      maxBytes: limits.maxBytes,
      maxDiskBytes: limits.maxDiskBytes,
      unpack: { maxRatio: limits.maxUnpackRatio, freeBytes: limits.unpackFreeBytes },
      recognise: (head, fileBytes) => factsFor([...wishes], head, fileBytes),
      openSink: (bytes) => VolumeSink.open({ pool, space, images, url: url.href, bytes, log, signal }),
    });
  }

  /** Gives what was stored its records, or removes it where nobody wants it. */
  async #keep(
    url: URL,
    { sink, bytes, sha256, facts, served }: TakenIn,
    validator: string | null,
    wishes: ReadonlySet<ImageWish>,
    signal: AbortSignal,
  ): Promise<KeptImage> {
    try {
      checkDigests([...wishes], served);
      const digests = { sha256: served.sha256, sha512: served.sha512 };
      const image = { url: url.href, volume: sink.name, size: bytes, sha256, ...facts, served: digests, validator };
      const kept = await this.#options.images.complete(image, signal);
      sink.keep();
      this.#options.inspector.remember(kept.volume, { format: kept.record.format, virtualSize: kept.record.virtualSize });
      return kept;
    } catch (error) {
      await sink.abort();
      throw error;
    }
  }

  #source(url: URL): ByteSource {
    return url.protocol === "file:" ? new FileSource(url, this.#rules.folders) : new HttpSource(this.#http, url);
  }
}
