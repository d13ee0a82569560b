import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { FindCredential } from "../../image-driver.ts";
import { FETCH_LIMITS, type FetchLimits } from "./fetch/fetch-limits.ts";
import { ImageFetcher } from "./fetch/image-fetcher.ts";
import { FetchedImages } from "./fetched-images.ts";
import { HostImages } from "./host-images.ts";
import { CLEANUP_RULES, type CleanupRules, ImageCleanup } from "./image-cleanup.ts";
import { ImageInspector } from "./image-inspector.ts";
import { ImageStore } from "./image-store.ts";
import { readImageUsers } from "./image-users.ts";
import { ImageUses } from "./image-uses.ts";
import { PoolSpace } from "./pool-space.ts";
import type { StoragePool } from "./storage-pool.ts";

export interface HostImageStorageOptions {
  client: LibvirtClient;
  log: Logger;
  pool: StoragePool;
  imageUrlPrefixes: readonly string[];
  findCredential?: FindCredential | null;
  fetch?: Partial<FetchLimits>;
  cleanup?: Partial<CleanupRules>;
}

const FIRST_CLEANUP_MS = 10 * 60_000;
const CLEANUP_EVERY_MS = 3_600_000;
const CLEANUP_TIMEOUT_MS = 5 * 60_000;

/** All that has to do with images of one host, put together. */
export class HostImageStorage {
  readonly driver: HostImages;
  readonly store: ImageStore;
  readonly #fetched: FetchedImages;
  readonly #fetcher: ImageFetcher;
  readonly #cleanup: ImageCleanup;
  readonly #log: Logger;
  readonly #closing = new AbortController();
  #cleaning: Promise<void> | null = null;

  /** INVALID_ARGUMENT for a prefix that is no URL. */
  constructor({ client, log, pool, imageUrlPrefixes, findCredential = null, fetch, cleanup }: HostImageStorageOptions) {
    this.#log = log;
    const users = (signal: AbortSignal) => readImageUsers(client, signal);
    const fetched = new FetchedImages({ pool, log, users });
    const limits = { ...FETCH_LIMITS, ...fetch };
    const space = new PoolSpace(pool);
    const inspector = new ImageInspector(pool);
    const urlPrefixes = imageUrlPrefixes;
    const fetcher = new ImageFetcher({ pool, space, images: fetched, inspector, log, urlPrefixes, findCredential, limits });
    const uses = new ImageUses(pool, log);
    this.#fetched = fetched;
    this.#fetcher = fetcher;
    this.#cleanup = new ImageCleanup({ pool, images: fetched, uses, users, log, rules: { ...CLEANUP_RULES, ...cleanup } });
    this.store = new ImageStore({ pool, fetcher, fetched, uses, inspector });
    this.driver = new HostImages({ pool, store: this.store, fetcher, fetched, uses, users });
  }

  /** Removes fetches that were cut off, and cleans up now and then from now on. */
  async open(signal: AbortSignal): Promise<void> {
    await this.#fetched.clear(signal);
    this.#cleaning ??= this.#cleanNowAndThen();
  }

  async cleanUp(now: Date, signal: AbortSignal): Promise<void> {
    await this.#cleanup.run(now, signal);
  }

  /** Ends fetches that are under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.all([this.#fetcher.close(), this.#cleaning]);
  }

  async #cleanNowAndThen(): Promise<void> {
    const { signal } = this.#closing;
    for (let pauseMs = FIRST_CLEANUP_MS; !signal.aborted; pauseMs = CLEANUP_EVERY_MS) {
      await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      try {
        await this.cleanUp(new Date(), AbortSignal.any([signal, AbortSignal.timeout(CLEANUP_TIMEOUT_MS)]));
      } catch (error) {
        this.#log.warn({ err: error }, "images were not cleaned up, it is tried again later");
      }
    }
  }
}
