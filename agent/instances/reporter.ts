import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { InstanceState } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import type {
  InstanceObservation,
  InstanceTypeSupport,
  ReportInstancesRequest,
  ReportInstancesResponse,
} from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { Backoff, jittered, pause } from "../control-plane/backoff.ts";
import { reactionTo } from "../control-plane/refusals.ts";
import { ReportQueue } from "./report-queue.ts";
import type { Tombstone } from "./take-desired.ts";

export interface ReporterOptions {
  nodeId: string;
  /** Grows with each start of the agent. */
  session: number;
  /** Sends one report; throws FleetError. */
  send: (report: ReportInstancesRequest, signal: AbortSignal) => Promise<ReportInstancesResponse>;
  /** All that the node has, and `tombstones` as deleted. */
  observe: (tombstones: readonly Tombstone[]) => InstanceObservation[];
  support: () => InstanceTypeSupport[];
  /** The newest of those that were removed. */
  tombstones: (limit: number) => Tombstone[];
  log: Logger;
  fullEveryMs?: number;
}

const MAX_OBSERVATIONS = 500;
const MAX_TOMBSTONES = 500;
const FULL_EVERY_MS = 600_000;
/** Where the control plane wants a full report right after one. */
const FULL_AGAIN_MS = 30_000;
const BACKOFF = { firstMs: 500, longestMs: 15_000 };
/** A control plane that has no such service, or refuses it. */
const REFUSED_PAUSE_MS = 60_000;

/**
 * Tells the control plane what was observed: one report at a time, the next as soon as there is something to tell. A report that got no
 * answer is sent again as it was: the control plane knows it by its number.
 */
export class InstanceReporter {
  readonly #options: ReporterOptions;
  readonly #queue = new ReportQueue();
  readonly #backoff = new Backoff(BACKOFF);
  /** Generations of instances whose end was told in this session. */
  readonly #toldDeleted = new Map<string, number>();
  #unanswered: ReportInstancesRequest | null = null;
  #isFullWanted = true;
  /** When a full report is due in any case. */
  #fullAt = 0;
  #sequence = 0;
  #isOpen = false;
  /** Ends the wait for something to tell. */
  #more = new AbortController();
  /** Ends a pause after a failure. */
  #retry = new AbortController();
  #lastFailure = "";

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  offer(observation: InstanceObservation): void {
    this.#queue.add(observation);
    this.#more.abort();
  }

  /** All is told anew. */
  wantFull(): void {
    this.#isFullWanted = true;
    this.#more.abort();
  }

  /** The node is registered, again perhaps: nothing is told before, and now all is. */
  registered(): void {
    this.#isOpen = true;
    this.#backoff.reset();
    this.#retry.abort();
    this.wantFull();
  }

  /** Works until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#more = new AbortController();
      this.#retry = new AbortController();
      const fullInMs = this.#isFullWanted ? 0 : this.#fullAt - performance.now();
      const isDue = fullInMs <= 0 || this.#unanswered !== null || !this.#queue.isEmpty;
      if (!this.#isOpen || !isDue) {
        await pause(this.#isOpen ? fullInMs : FULL_EVERY_MS, AbortSignal.any([signal, this.#more.signal]));
        continue;
      }
      try {
        await this.#report(fullInMs <= 0, signal);
        this.#backoff.reset();
        this.#lastFailure = "";
      } catch (thrown) {
        if (signal.aborted) return;
        await pause(this.#pauseAfter(FleetError.from(thrown)), AbortSignal.any([signal, this.#retry.signal]));
      }
    }
  }

  async #report(isFullDue: boolean, signal: AbortSignal): Promise<void> {
    if (this.#unanswered === null && isFullDue) return this.#reportAll(signal);
    this.#unanswered ??= this.#message(this.#queue.take(MAX_OBSERVATIONS), []);
    const { observations } = this.#unanswered;
    const { fullWanted } = await this.#options.send(this.#unanswered, signal);
    this.#unanswered = null;
    this.#noteDeleted(observations);
    if (fullWanted) this.#forgetTold();
  }

  async #reportAll(signal: AbortSignal): Promise<void> {
    const { observe, support, tombstones, send } = this.#options;
    const untold = tombstones(MAX_TOMBSTONES).filter(({ instanceId, generation }) => this.#toldDeleted.get(instanceId) !== generation);
    this.#isFullWanted = false;
    this.#queue.clear();
    const report = { ...this.#message(observe(untold), support()), full: true };
    try {
      const { fullWanted } = await send(report, signal);
      this.#noteDeleted(report.observations);
      this.#fullAt = performance.now() + (fullWanted ? FULL_AGAIN_MS : jittered(this.#options.fullEveryMs ?? FULL_EVERY_MS, 0.1));
    } catch (error) {
      this.#isFullWanted = true;
      throw error;
    }
  }

  #message(observations: InstanceObservation[], typeSupport: InstanceTypeSupport[]): ReportInstancesRequest {
    const { nodeId, session } = this.#options;
    this.#sequence += 1;
    return { nodeId, session, sequence: this.#sequence, full: false, observations, typeSupport, observedAt: new Date() };
  }

  #noteDeleted(observations: readonly InstanceObservation[]): void {
    for (const { instanceId, generation, state } of observations) {
      if (state !== InstanceState.DELETED || instanceId === "") continue;
      this.#toldDeleted.delete(instanceId);
      this.#toldDeleted.set(instanceId, generation);
    }
    for (const instanceId of this.#toldDeleted.keys()) {
      if (this.#toldDeleted.size <= MAX_TOMBSTONES) return;
      this.#toldDeleted.delete(instanceId);
    }
  }

  /** The control plane has lost what it was told. */
  #forgetTold(): void {
    this.#toldDeleted.clear();
    this.#isFullWanted = true;
  }

  #pauseAfter(error: FleetError): number {
    const { log, nodeId } = this.#options;
    const isRefused = reactionTo(error) === "wait";
    if (isRefused) {
      // Saying the same again would be refused again.
      this.#unanswered = null;
      this.#isFullWanted = true;
    }
    const pauseMs = isRefused ? jittered(REFUSED_PAUSE_MS, 0.5) : this.#backoff.next();
    const facts = { nodeId, code: error.code, reason: error.reason, err: error, pauseMs: Math.round(pauseMs) };
    const failure = `${error.code} ${error.reason ?? ""}`;
    if (failure === this.#lastFailure) log.debug(facts, "instances cannot be reported");
    else if (error.code === "UNIMPLEMENTED") log.info(facts, "the control plane does not take reports about instances");
    else log.warn(facts, "instances cannot be reported");
    this.#lastFailure = failure;
    return pauseMs;
  }
}
