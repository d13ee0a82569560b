import { requireRole } from "../../../platform/auth/identity.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { InstanceStats } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { InstanceAgentServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { AgentCalls } from "../../kit/agents/agent-calls.ts";
import type { InstanceState, InstanceView } from "./instance-types.ts";

/** Readings of an instance a moment ago; or why there are none. */
export type StatsOutcome = { stats: InstanceStats } | { refusal: FleetError };

/** What has to be known of an instance to read it. */
export type Readable = Pick<InstanceView, "id" | "nodeId" | "state" | "managed">;

/** Instances that one call to an agent names. */
const MAX_PER_CALL = 1_000;
/** States in which there is something to read. */
const READABLE: ReadonlySet<InstanceState> = new Set(["RUNNING", "SUSPENDED", "STOPPING", "RESTARTING", "STARTING"]);

/** Reads what instances use from their agents, in one call per node. An agent that does not answer is no failure of the others. */
export class StatsReads {
  readonly #agents: AgentCalls;

  constructor(agents: AgentCalls) {
    this.#agents = agents;
  }

  /** In the order of the instances. Rights: viewer. */
  async read(ctx: RequestContext, instances: readonly Readable[]): Promise<StatsOutcome[]> {
    requireRole(ctx.identity, "viewer");
    const outcomes = new Map<string, StatsOutcome>();
    const byNode = new Map<string, Set<string>>();
    for (const instance of instances) {
      const refusal = unreadable(instance);
      if (refusal) outcomes.set(instance.id, { refusal });
      else byNode.set(instance.nodeId, (byNode.get(instance.nodeId) ?? new Set()).add(instance.id));
    }
    const calls = [...byNode].flatMap(([nodeId, ids]) =>
      chunks([...ids].sort()).map((chunk) => this.#readNode(ctx, nodeId, chunk, outcomes)),
    );
    await Promise.all(calls);
    return instances.map(({ id }) => outcomes.get(id) ?? { refusal: notRunning(id) });
  }

  async #readNode(ctx: RequestContext, nodeId: string, ids: string[], outcomes: Map<string, StatsOutcome>): Promise<void> {
    try {
      const request = { nodeId, instanceIds: ids };
      const { stats } = await this.#agents.read(
        ctx,
        nodeId,
        InstanceAgentServiceDefinition,
        "SampleInstances",
        (client, options) => client.sampleInstances(request, options),
        ids.join(),
      );
      const wanted = new Set(ids);
      for (const one of stats) if (wanted.has(one.instanceId)) outcomes.set(one.instanceId, { stats: one });
    } catch (error) {
      // The caller's own end is the caller's business.
      ctx.signal.throwIfAborted();
      const refusal = FleetError.from(error);
      if (refusal.code === "INTERNAL") ctx.log.error({ err: refusal.cause ?? refusal, nodeId }, "reading instances of a node failed");
      for (const id of ids) outcomes.set(id, { refusal });
    }
  }
}

function unreadable({ id, state, managed }: Readable): FleetError | null {
  if (!managed) {
    return new FleetError("FAILED_PRECONDITION", "This instance was found on its host: only those that are managed are read.", {
      reason: "InstanceUnmanaged",
      details: { instanceId: id, state },
    });
  }
  return READABLE.has(state) ? null : notRunning(id, state);
}

function notRunning(instanceId: string, state?: InstanceState): FleetError {
  return new FleetError("FAILED_PRECONDITION", "The instance does not run.", {
    reason: "InstanceNotRunning",
    details: { instanceId, ...(state === undefined ? {} : { state }) },
  });
}

function chunks(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / MAX_PER_CALL) }, (_, index) =>
    ids.slice(index * MAX_PER_CALL, (index + 1) * MAX_PER_CALL),
  );
}
