import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../platform/observability/log.ts";
import type { FindCredential } from "../image-driver.ts";
import { type FetchProgress, WAITING } from "../shared/activity.ts";
import { FetchJob } from "../shared/fetch-job.ts";
import { precondition } from "../shared/refusals.ts";
import { Slots } from "../shared/slots.ts";
import type { ContainerEngine, RegistryAccount } from "./engine.ts";
import { attempt, EngineRefusal, orNull } from "./engine-errors.ts";
import type { InspectedImage } from "./engine-types.ts";
import { isImageId, registryOf } from "./image-reference.ts";
import { jsonLines } from "./json-lines.ts";

interface PullProgress {
  id?: string;
  status?: string;
  progressDetail?: { current?: number; total?: number } | null;
  error?: string;
}

export interface PullLimits {
  /** Images at a time; others wait. */
  concurrent: number;
  /** Without a word of the engine. It is silent while it unpacks a layer. */
  idleTimeoutMs: number;
  /** For one image, whatever happens. */
  totalTimeoutMs: number;
}

export const PULL_LIMITS: PullLimits = { concurrent: 3, idleTimeoutMs: 10 * 60_000, totalTimeoutMs: 6 * 3_600_000 };

/** Sees that images are there: each is fetched once, however many instances wait for it, and given up when none does any more. */
export class ImagePulls {
  readonly #engine: ContainerEngine;
  readonly #log: Logger;
  readonly #limits: PullLimits;
  readonly #slots: Slots;
  readonly #findCredential: FindCredential;
  readonly #jobs = new Map<string, FetchJob<InspectedImage>>();
  readonly #closing = new AbortController();

  constructor(engine: ContainerEngine, log: Logger, findCredential: FindCredential, limits: PullLimits = PULL_LIMITS) {
    this.#engine = engine;
    this.#log = log;
    this.#limits = limits;
    this.#findCredential = findCredential;
    this.#slots = new Slots(limits.concurrent);
  }

  /** One that is there is used as it is. `reference` is as imageReference gives it. FAILED_PRECONDITION ImagePullFailed. */
  async ensure(reference: string, onProgress: (progress: FetchProgress) => void, signal: AbortSignal): Promise<InspectedImage> {
    const there = await this.#find(reference, signal);
    return there ?? (await this.pull(reference, onProgress, signal));
  }

  /** Asks the registry, also for one that is there: its tag may have moved. Who comes while it is fetched waits for the same. */
  async pull(reference: string, onProgress: (progress: FetchProgress) => void, signal: AbortSignal): Promise<InspectedImage> {
    if (isImageId(reference))
      throw failed(reference, "it is not on this host, and an image's id is nothing that a registry could be asked for");
    for (;;) {
      signal.throwIfAborted();
      if (this.#closing.signal.aborted) throw new FleetError("UNAVAILABLE", "The agent is stopping.");
      const job = this.#jobs.get(reference) ?? this.#begin(reference);
      if (!job.givenUp) return await job.wait(onProgress, signal);
      await job.over;
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    const jobs = [...this.#jobs.values()];
    for (const job of jobs) job.giveUp();
    await Promise.all(jobs.map((job) => job.over));
  }

  #begin(reference: string): FetchJob<InspectedImage> {
    const job = new FetchJob((tell, signal) => {
      const waiting = () => tell(WAITING);
      return this.#slots.use(() => this.#pull(reference, tell, signal), signal, waiting);
    });
    this.#jobs.set(reference, job);
    void job.over.then(() => this.#jobs.delete(reference));
    return job;
  }

  async #pull(reference: string, tell: (progress: FetchProgress) => void, caller: AbortSignal): Promise<InspectedImage> {
    const startedAt = performance.now();
    this.#log.info({ image: reference }, "fetching an image");
    tell({ status: "downloading", currentBytes: 0, totalBytes: null });
    const late = new AbortController();
    const total = setTimeout(() => late.abort(tooLong(reference, this.#limits.totalTimeoutMs)), this.#limits.totalTimeoutMs);
    try {
      await this.#follow(reference, tell, late, AbortSignal.any([caller, late.signal]));
    } catch (error) {
      const reason = late.signal.aborted && !caller.aborted ? late.signal.reason : error;
      if (!caller.aborted) this.#log.warn({ image: reference, err: reason }, "an image was not fetched");
      throw reason instanceof EngineRefusal ? failed(reference, reason.message) : FleetError.from(reason);
    } finally {
      clearTimeout(total);
    }
    const image = await this.#find(reference, caller);
    if (image === null) throw failed(reference, "it vanished from this host as soon as it was there");
    this.#log.info({ image: reference, seconds: Math.round((performance.now() - startedAt) / 1000) }, "fetched an image");
    return image;
  }

  async #follow(reference: string, tell: (progress: FetchProgress) => void, late: AbortController, signal: AbortSignal): Promise<void> {
    const { idleTimeoutMs } = this.#limits;
    const idle = setTimeout(() => late.abort(tooLong(reference, idleTimeoutMs)), idleTimeoutMs);
    try {
      const progress = new PullSum();
      const authentication = await this.#authentication(reference, signal);
      const answer = await this.#engine.open("POST", "/images/create", { signal, query: { fromImage: reference }, ...authentication });
      for await (const line of jsonLines<PullProgress>(answer)) {
        idle.refresh();
        // The answer has begun as a good one: what went wrong since stands in it.
        if (line.error !== undefined) throw new EngineRefusal(200, line.error);
        const { received, total } = progress.add(line);
        if (total > 0) tell({ status: received < total ? "downloading" : "unpacking", currentBytes: received, totalBytes: total });
      }
    } catch (error) {
      throw error instanceof EngineRefusal || error instanceof FleetError || signal.aborted ? error : brokenOff(error);
    } finally {
      clearTimeout(idle);
    }
  }

  /** Where the control plane cannot be asked for an account, the registry may do without one. */
  async #authentication(reference: string, signal: AbortSignal): Promise<{ authentication?: RegistryAccount }> {
    const registry = registryOf(reference);
    try {
      const credential = await this.#findCredential(registry, signal);
      return credential === null ? {} : { authentication: { ...credential, serveraddress: registry } };
    } catch (error) {
      if (signal.aborted) throw error;
      this.#log.info({ registry, err: error }, "whether there is an account for a registry is not known: it is asked without one");
      return {};
    }
  }

  async #find(reference: string, signal: AbortSignal): Promise<InspectedImage | null> {
    return await attempt("look for an image", () => orNull(this.#engine.get<InspectedImage>(`/images/${reference}/json`, { signal })));
  }
}

/** Bytes over all of an image's layers. */
export class PullSum {
  readonly #layers = new Map<string, { current: number; total: number }>();

  add({ id = "", status = "", progressDetail }: PullProgress): { received: number; total: number } {
    const known = this.#layers.get(id);
    const { current, total } = progressDetail ?? {};
    // What follows the download (extracting) counts from the beginning again.
    if (status === "Downloading" && current !== undefined && total !== undefined && total > 0) this.#layers.set(id, { current, total });
    else if (known !== undefined && status === "Download complete") known.current = known.total;
    const layers = [...this.#layers.values()];
    return {
      received: layers.reduce((sum, layer) => sum + layer.current, 0),
      total: layers.reduce((sum, layer) => sum + layer.total, 0),
    };
  }
}

function failed(reference: string, why: string): FleetError {
  if (/unauthorized|authentication required|access (to the resource is )?denied|\b40[13]\b/i.test(why)) {
    const message = `The image ${reference} was refused by its registry: ${why}. Give an account with setRegistryCredential for ${registryOf(reference)}, and see that its name is right.`;
    return precondition("ImagePullUnauthorized", message, { field: "spec.image" });
  }
  const hint = /server gave HTTP response to HTTPS client/.test(why)
    ? " The registry speaks plain HTTP: allow that for it on the host, for podman in /etc/containers/registries.conf (insecure = true), for Docker in /etc/docker/daemon.json (insecure-registries)."
    : "";
  return precondition("ImagePullFailed", `The image ${reference} could not be fetched: ${why}.${hint}`, { field: "spec.image" });
}

function tooLong(reference: string, timeoutMs: number): FleetError {
  return failed(reference, `the engine had not finished after ${Math.round(timeoutMs / 60_000)} minutes`);
}

function brokenOff(cause: unknown): FleetError {
  return new FleetError("UNAVAILABLE", "The container engine went away while it fetched the image.", {
    reason: "EngineUnreachable",
    cause,
  });
}
