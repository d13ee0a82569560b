import { setTimeout as sleep } from "node:timers/promises";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { EventLog } from "../../kit/events/event-log.ts";
import type { NodeCache } from "./node-cache.ts";
import { COMMAND_STREAM } from "./node-commands.ts";
import { NODE_STREAM } from "./node-types.ts";

const RETRY_MS = 500;

/** Follows the event log, so that the cache forgets what other replicas change. Ends with the context's signal. */
export class CacheInvalidation {
  readonly #ctx: RequestContext;
  readonly #log: EventLog;
  readonly #cache: NodeCache;
  #loops: Promise<unknown> = Promise.resolve();

  constructor(ctx: RequestContext, log: EventLog, cache: NodeCache) {
    this.#ctx = ctx;
    this.#log = log;
    this.#cache = cache;
  }

  start(): void {
    this.#loops = Promise.all([NODE_STREAM, COMMAND_STREAM].map((stream) => this.#follow(stream)));
  }

  /** Resolves when the loops have ended, after the signal. */
  async stopped(): Promise<void> {
    await this.#loops;
  }

  async #follow(stream: string): Promise<void> {
    const { signal, log } = this.#ctx;
    while (!signal.aborted) {
      try {
        const after = await this.#log.cursor(stream);
        // What was read before the cursor may be out of date.
        this.#cache.forgetAll();
        for await (const { objectId } of this.#log.watch(stream, { after, signal })) if (objectId !== null) this.#cache.forget(objectId);
      } catch (error) {
        this.#cache.forgetAll();
        if (!signal.aborted) log.warn({ err: error, stream }, "following changes was interrupted; trying again");
      }
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
