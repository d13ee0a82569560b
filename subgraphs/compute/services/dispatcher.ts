import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { ChannelPool } from "../../../platform/grpc/channel-pool.ts";
import type { Metrics } from "../../../platform/observability/metrics.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { type ApplyInstanceRequest, InstanceAgentServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { AgentDirectory } from "../../kit/agents/agent-directory.ts";
import { callTarget, type NodeRecord } from "../../kit/agents/node-record.ts";
import { periodically } from "../../kit/periodic.ts";
import { Semaphore } from "../../kit/semaphore.ts";
import type { DispatchConfig } from "../config.ts";
import type { Instance } from "../entities/instance.ts";
import { applyMessage, type Leftover, removalMessage } from "./apply-message.ts";
import { DispatchStore, type Sent } from "./dispatch-store.ts";
import type { InstanceWriter } from "./instance-writer.ts";
import { NodeQueue, type Told } from "./node-queue.ts";

export interface DispatcherParts {
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  writer: InstanceWriter;
  directory: AgentDirectory;
  /** With the control plane's certificate. */
  pool: ChannelPool;
  metrics: Metrics;
  config: DispatchConfig;
}

/** Nodes that one sweep wakes. */
const MAX_NODES = 10_000;
/** Leftovers that wait to be removed; beyond it the next full report names them again. */
const MAX_LEFTOVERS = 1_000;

/** What an agent says that repeating will not change. */
const REFUSALS: ReadonlySet<string> = new Set(["INVALID_ARGUMENT", "FAILED_PRECONDITION", "UNIMPLEMENTED"]);
/** Its reason where the host keeps as many instances as it may. */
const TOO_MANY = "TooManyInstances";
const UNREACHABLE: ReadonlySet<string> = new Set(["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "DRAINING", "UNAUTHENTICATED"]);

/**
 * Tells agents what their instances are to be: right after the commit that changed it, again while that did not work, and when a node is
 * back. What has still to be told is in the database, so that any replica, at any time, can go on; two that tell the same do no harm.
 */
export class Dispatcher {
  readonly #parts: DispatcherParts;
  readonly #store: DispatchStore;
  readonly #queues = new Map<string, NodeQueue>();
  readonly #overall: Semaphore;
  readonly #calls;
  readonly #forget: () => void;
  #leftovers = 0;
  #sweeping: Promise<void> = Promise.resolve();

  constructor(parts: DispatcherParts) {
    const { writer, directory, metrics, config } = parts;
    this.#parts = parts;
    this.#store = new DispatchStore(writer);
    this.#overall = new Semaphore(config.overall);
    this.#calls = metrics.counter("fleetgraph_instance_dispatches_total", "Instances that agents were told of, by how that ended.", [
      "outcome",
    ]);
    writer.onPending((nodeIds) => this.wake(nodeIds));
    this.#forget = directory.listen({
      onChanged: (record, before) => {
        if (isBack(record, before)) this.#wakeNode(record.nodeId, true);
      },
      onSnapshot: () => void this.#sweep().catch((error: unknown) => this.#failed(FleetError.from(error))),
    });
  }

  start(): void {
    this.#sweeping = periodically(this.#parts.ctx, "telling agents about instances", this.#parts.config.sweepMs, () => this.#sweep());
  }

  wake(nodeIds: Iterable<string>): void {
    for (const nodeId of nodeIds) this.#wakeNode(nodeId, false);
  }

  /** Has something removed that is on a host although it is not to be. Tried once: while it is there, the host names it again. */
  remove(leftover: Leftover): void {
    if (this.#leftovers >= MAX_LEFTOVERS || this.#parts.ctx.signal.aborted) return;
    this.#leftovers += 1;
    void this.#remove(leftover)
      .catch((error: unknown) => this.#failed(FleetError.from(error), leftover))
      .finally(() => {
        this.#leftovers -= 1;
      });
  }

  /** After the signal of the context. */
  async stop(): Promise<void> {
    this.#forget();
    await this.#sweeping;
    await Promise.all([...this.#queues.values()].map((queue) => queue.stop()));
  }

  /** The watch of nodes may be a little behind a host that has just been let in again. */
  async #remove(leftover: Leftover): Promise<void> {
    await this.#parts.directory.whenKnown(leftover.nodeId, this.#parts.config.deadlineMs, this.#parts.ctx.signal);
    await this.#call(leftover.nodeId, removalMessage(leftover));
  }

  async #sweep(): Promise<void> {
    this.wake(await this.#store.pendingNodes(MAX_NODES));
  }

  #wakeNode(nodeId: string, anew: boolean): void {
    if (this.#parts.ctx.signal.aborted) return;
    let queue = this.#queues.get(nodeId);
    if (queue === undefined) {
      queue = this.#openQueue(nodeId);
      this.#queues.set(nodeId, queue);
    }
    queue.wake(anew);
  }

  #openQueue(nodeId: string): NodeQueue {
    const { directory, config } = this.#parts;
    return new NodeQueue({
      config,
      isReachable: () => isReachable(directory.get(nodeId)),
      load: (except, limit) => this.#store.pending(nodeId, except, limit),
      tell: (instance) => this.#tell(instance),
      onIdle: () => this.#queues.delete(nodeId),
      onError: (error) => this.#failed(error, { nodeId }),
    });
  }

  async #tell(instance: Instance): Promise<Told> {
    const { id, nodeId, generation, revision } = instance;
    const sent: Sent = { id, generation, revision };
    try {
      const has = await this.#call(nodeId, applyMessage(instance));
      await this.#store.applied(sent, has);
      this.#calls.inc({ outcome: "OK" });
      return "done";
    } catch (error) {
      const failure = FleetError.from(error);
      this.#calls.inc({ outcome: failure.reason ?? failure.code });
      if (this.#parts.ctx.signal.aborted) return "unreachable";
      return this.#untold(sent, nodeId, failure);
    }
  }

  async #untold(sent: Sent, nodeId: string, failure: FleetError): Promise<Told> {
    if (failure.reason === "StaleGeneration") {
      this.#parts.ctx.log.warn(
        { ...sent, nodeId, ...failure.details },
        "an agent knows a newer placement than the database: it gets a new one",
      );
      await this.#store.stale(sent, Number(failure.details["highestGeneration"] ?? 0));
      return "done";
    }
    if (UNREACHABLE.has(failure.code)) {
      this.#parts.ctx.log.debug({ ...sent, nodeId, code: failure.code }, "an agent was not reached; it is told again");
      return "unreachable";
    }
    this.#failed(failure, { ...sent, nodeId });
    if (!REFUSALS.has(failure.code) && failure.reason !== TOO_MANY) return "failed";
    return (await this.#store.refused(sent, failure.message)) ? "done" : "failed";
  }

  async #call(nodeId: string, message: ApplyInstanceRequest): Promise<number> {
    const { ctx, directory, pool, config } = this.#parts;
    return this.#overall.run(async () => {
      const record = directory.get(nodeId);
      if (record === undefined) throw new FleetError("UNAVAILABLE", "The node is not in the fleet.");
      const target = callTarget(record);
      using lease = pool.lease(target);
      try {
        const client = lease.client(InstanceAgentServiceDefinition);
        const { revision } = await client.applyInstance(message, { deadlineMs: config.deadlineMs, context: ctx });
        return revision;
      } catch (error) {
        // An agent that was restarted is reached by the next call, not when the channel's back-off is over.
        if (FleetError.from(error).code === "UNAVAILABLE") pool.drop(target);
        throw error;
      }
    }, ctx.signal);
  }

  #failed(error: FleetError, about: object = {}): void {
    if (this.#parts.ctx.signal.aborted) return;
    this.#parts.ctx.log.warn(
      { ...about, err: error.cause ?? error, code: error.code, reason: error.reason },
      "an agent was not told about an instance",
    );
  }
}

function isReachable(record: NodeRecord | undefined): boolean {
  if (record === undefined) return false;
  try {
    callTarget(record);
    return true;
  } catch {
    return false;
  }
}

/** It can be called now, and could not before, or not there. */
function isBack(record: NodeRecord, before: NodeRecord | undefined): boolean {
  if (!isReachable(record)) return false;
  return !isReachable(before) || record.address !== before?.address || record.agentId !== before.agentId;
}
