import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import {
  type HeartbeatResponse,
  NodeStatus,
  type RegisterNodeRequest,
  type RegisterNodeResponse,
} from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { NodeCondition, Resources } from "../../schema/generated/proto/hypervisor/v1/common.ts";
import { Backoff, jittered, pause } from "./backoff.ts";
import type { CommandRunner } from "./commands.ts";
import type { ControlPlaneConnection } from "./connection.ts";
import { explain, reactionTo } from "./refusals.ts";

/** What a session says about its node; read anew each time. */
export interface NodeReporter {
  /** Without the node's id. */
  describe(): Promise<Omit<RegisterNodeRequest, "nodeId">>;
  conditions(): Promise<NodeCondition[]>;
  allocated(): Promise<Resources>;
  /** `skewMs`: how far this host's clock is ahead of the control plane's, give or take `uncertaintyMs`. */
  observeClock(skewMs: number, uncertaintyMs: number): void;
}

export interface NodeSessionOptions {
  connection: ControlPlaneConnection;
  reporter: NodeReporter;
  commands: CommandRunner;
  /** The id that the node had before; null for a new one. */
  nodeId: string | null;
  /** Called after every registration, when `nodeId` is set. */
  onRegistered: (response: RegisterNodeResponse) => Promise<void>;
  /** The control plane took a registration or a heartbeat: when that was sent, as performance.now() counts, and the lease that it renewed. */
  onAccepted?: (sentAt: number, leaseTtlMs: number) => void;
  /** The control plane refuses the node, until an operator or it itself does something about that. */
  onRefused?: (error: FleetError) => void;
  log: Logger;
  /** How often it is looked whether the host still is what it was registered as: memory, disks, addresses can change. 60 s by default. */
  lookEveryMs?: number;
}

/** The first call on a connection waits for the handshake, which takes its time where thousands come back together. */
const REGISTER_MS = 20_000;
const BACKOFF = { firstMs: 2000, longestMs: 15_000 };
/** Where an operator has to act first. */
const REFUSED_PAUSE_MS = 60_000;
const LOOK_EVERY_MS = 60_000;
/** How often it registers in any case: the answer says where services are, and those may have moved. */
const REGISTER_EVERY_MS = 3_600_000;
const MIN_INTERVAL_MS = 200;
const MAX_INTERVAL_MS = 300_000;
const DEFAULT_INTERVAL_MS = 10_000;

/** Keeps one node known to the control plane: registers it, reports it at the interval that it is told, and starts over after a loss. */
export class NodeSession {
  readonly #options: NodeSessionOptions;
  readonly #backoff = new Backoff(BACKOFF);
  readonly #firstRegistration = Promise.withResolvers<void>();
  #nodeId: string | null;
  /** What the node was last registered as; null before. */
  #registeredAs: string | null = null;
  /** Something has changed since. */
  #isOutdated = false;
  #leaseTtlMs = 0;
  /** Ends the pause before the next heartbeat. */
  #hurry = new AbortController();

  constructor(options: NodeSessionOptions) {
    this.#options = options;
    this.#nodeId = options.nodeId;
    // Nobody has to wait for it.
    this.#firstRegistration.promise.catch(() => undefined);
  }

  /** Null until the node was registered for the first time. */
  get nodeId(): string | null {
    return this.#nodeId;
  }

  /**
   * Settles with the first registration. Rejects where the control plane refuses the node for a reason that an operator has to remove;
   * the session tries on all the same.
   */
  get registered(): Promise<void> {
    return this.#firstRegistration.promise;
  }

  /** What the node is registered as may be out of date: it is looked at now. */
  reconsider(): void {
    this.#isOutdated = true;
    this.#hurry.abort();
  }

  /** Works until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const intervalMs = await this.#register(signal);
        this.#backoff.reset();
        await this.#heartbeats(intervalMs, signal);
      } catch (thrown) {
        if (signal.aborted) break;
        const error = FleetError.from(thrown);
        await pause(this.#pauseAfter(error), signal);
      }
    }
    this.#firstRegistration.reject(new FleetError("CANCELLED", "The agent was stopped before its node was registered."));
  }

  async #register(signal: AbortSignal): Promise<number> {
    const { connection, reporter, log, onRegistered } = this.#options;
    this.#isOutdated = false;
    const request = await reporter.describe();
    const link = connection.main;
    const sentAt = performance.now();
    const response = await link.cluster
      .registerNode({ ...request, nodeId: this.#nodeId ?? "" }, { signal, deadlineMs: REGISTER_MS })
      .catch((error: unknown) => {
        connection.failed(link, FleetError.from(error));
        throw error;
      });
    if (this.#nodeId !== null && this.#nodeId !== response.nodeId) {
      log.warn({ before: this.#nodeId, nodeId: response.nodeId }, "the control plane gave the node another id");
    }
    this.#nodeId = response.nodeId;
    this.#leaseTtlMs = response.leaseTtlSeconds * 1000;
    this.#options.onAccepted?.(sentAt, this.#leaseTtlMs);
    await onRegistered(response);
    log.info({ nodeId: response.nodeId, hostname: request.hostname, again: this.#registeredAs !== null }, "registered");
    this.#registeredAs = JSON.stringify(request);
    this.#firstRegistration.resolve();
    return intervalMs(response.heartbeatIntervalSeconds);
  }

  /** Returns when the node is to be registered again; throws when a call fails. The first heartbeat follows at once: it makes the node ready. */
  async #heartbeats(firstIntervalMs: number, signal: AbortSignal): Promise<void> {
    let interval = firstIntervalMs;
    const registerAt = performance.now() + jittered(REGISTER_EVERY_MS, 0.25);
    const lookEveryMs = this.#options.lookEveryMs ?? LOOK_EVERY_MS;
    let lookAt = performance.now() + lookEveryMs;
    while (!signal.aborted) {
      const response = await this.#heartbeat(signal);
      if (!response.accepted) {
        this.#options.log.warn({ nodeId: this.#nodeId }, "the control plane does not know this node, registering again");
        await pause(jittered(MIN_INTERVAL_MS, 0.5), signal);
        return;
      }
      interval = intervalMs(response.nextHeartbeatSeconds, interval);
      if (performance.now() >= registerAt) return;
      this.#hurry = new AbortController();
      if (this.#isOutdated || performance.now() >= lookAt) {
        this.#isOutdated = false;
        lookAt = performance.now() + lookEveryMs;
        if (JSON.stringify(await this.#options.reporter.describe()) !== this.#registeredAs) return;
      }
      // Earlier rather than later: the lease is counted from the last one.
      await pause(jittered(interval * 0.95, 0.05), AbortSignal.any([signal, this.#hurry.signal]));
    }
  }

  async #heartbeat(signal: AbortSignal): Promise<HeartbeatResponse> {
    const { connection, reporter, commands } = this.#options;
    const nodeId = this.#nodeId ?? "";
    const link = connection.main;
    const conditions = await reporter.conditions();
    const ready = conditions.every(({ type, status }) => type !== "Ready" || status === "True");
    const acknowledged = [...commands.toAcknowledge];
    const allocated = await reporter.allocated();
    const sentAt = new Date();
    const startedAt = performance.now();
    const status = ready ? NodeStatus.READY : NodeStatus.NOT_READY;
    try {
      const response = await link.cluster.heartbeat(
        { nodeId, status, conditions, allocated, acknowledgedCommandIds: acknowledged, sentAt },
        { signal },
      );
      const uncertaintyMs = (performance.now() - startedAt) / 2;
      if (response.receivedAt) reporter.observeClock(sentAt.getTime() + uncertaintyMs - response.receivedAt.getTime(), uncertaintyMs);
      if (response.accepted) this.#options.onAccepted?.(startedAt, this.#leaseTtlMs);
      if (response.accepted) await commands.take(nodeId, response.commands, acknowledged);
      return response;
    } catch (thrown) {
      const error = FleetError.from(thrown);
      // The link may be another than the one that was registered on: a renewed certificate replaces it.
      connection.failed(link, error);
      throw error;
    }
  }

  #pauseAfter(error: FleetError): number {
    const { log } = this.#options;
    const facts = { nodeId: this.#nodeId, code: error.code, reason: error.reason, err: error };
    if (reactionTo(error) === "retry") {
      const pauseMs = this.#backoff.next();
      log.warn({ ...facts, pauseMs: Math.round(pauseMs) }, explain(error));
      return pauseMs;
    }
    log.error(facts, explain(error));
    this.#firstRegistration.reject(error);
    this.#options.onRefused?.(error);
    return jittered(REFUSED_PAUSE_MS, 0.5);
  }
}

/** What the control plane asks for, within reason; 0 and less say "as before". */
function intervalMs(seconds: number, before = DEFAULT_INTERVAL_MS): number {
  return seconds > 0 ? Math.min(MAX_INTERVAL_MS, Math.max(MIN_INTERVAL_MS, seconds * 1000)) : before;
}
