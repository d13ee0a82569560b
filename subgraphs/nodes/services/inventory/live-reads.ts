import { setTimeout as sleep } from "node:timers/promises";
import type { TsProtoServiceDefinition } from "nice-grpc";
import { requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { FleetCallOptions, GrpcClient } from "../../../../platform/grpc/client.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { AgentServiceDefinition, type HardwareUsage } from "../../../../schema/generated/proto/hypervisor/v1/agent.ts";
import {
  type AcceleratorUsage,
  type NetworkCounters,
  TelemetryAgentServiceDefinition,
} from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { AgentCalls } from "../../../kit/agents/agent-calls.ts";
import { refusal } from "../../../kit/agents/node-record.ts";

/** What is changing on a host, read a moment ago; or why it could not be read. */
export type Live<T> = { value: T } | { refusal: FleetError };

/** How long a request waits for agents, in milliseconds. The calls themselves go on to their own deadline. */
export interface LiveWaits {
  /** For the only node that a request asks about. */
  one: number;
  /** Where it asks about several. */
  several: number;
  /** For an agent that did not answer the last time. */
  silent: number;
}

export interface LiveReadsParts {
  agents: AgentCalls;
  /** The control plane itself: a call that nobody waits for any more still tells whether its agent is back. */
  ctx: RequestContext;
  waits: LiveWaits;
}

/** Reads volatile values from agents, all nodes at once within the bounds of AgentCalls. An agent that does not answer is no failure of the others. */
export class LiveReads {
  readonly #parts: LiveReadsParts;
  /** Nodes whose agent let somebody wait in vain, until it answers. Bounded by the nodes that there are. */
  readonly #silent = new Set<string>();

  constructor(parts: LiveReadsParts) {
    this.#parts = parts;
  }

  /** Rights: viewer. */
  usages(ctx: RequestContext, nodeIds: readonly string[]): Promise<Array<Live<HardwareUsage>>> {
    return this.#all(ctx, nodeIds, AgentServiceDefinition, "GetHardwareUsage", (client, nodeId, options) =>
      client.getHardwareUsage({ nodeId }, options),
    );
  }

  /** Rights: viewer. */
  counters(ctx: RequestContext, nodeIds: readonly string[]): Promise<Array<Live<NetworkCounters>>> {
    return this.#all(ctx, nodeIds, TelemetryAgentServiceDefinition, "GetNetworkCounters", (client, nodeId, options) =>
      client.getNetworkCounters({ nodeId }, options),
    );
  }

  /** Rights: viewer. */
  acceleratorUsages(ctx: RequestContext, nodeIds: readonly string[]): Promise<Array<Live<AcceleratorUsage>>> {
    return this.#all(ctx, nodeIds, TelemetryAgentServiceDefinition, "GetAcceleratorUsage", (client, nodeId, options) =>
      client.getAcceleratorUsage({ nodeId }, options),
    );
  }

  /** A node that is no more is not remembered. */
  forget(nodeId: string): void {
    this.#silent.delete(nodeId);
  }

  #all<Service extends TsProtoServiceDefinition, T>(
    ctx: RequestContext,
    nodeIds: readonly string[],
    service: Service,
    method: string,
    call: (client: GrpcClient<Service>, nodeId: string, options: FleetCallOptions) => Promise<T>,
  ): Promise<Array<Live<T>>> {
    requireRole(ctx.identity, "viewer");
    const { agents, waits, ctx: background } = this.#parts;
    const wait = nodeIds.length > 1 ? waits.several : waits.one;
    const ask = async (nodeId: string) => {
      const value = await agents.read(background, nodeId, service, method, (client, options) => call(client, nodeId, options));
      this.#silent.delete(nodeId);
      return value;
    };
    return Promise.all(nodeIds.map((nodeId) => this.#within(ctx, nodeId, ask(nodeId), this.#silent.has(nodeId) ? waits.silent : wait)));
  }

  async #within<T>(ctx: RequestContext, nodeId: string, answer: Promise<T>, waitMs: number): Promise<Live<T>> {
    const done = new AbortController();
    try {
      const late = sleep(waitMs, undefined, { signal: AbortSignal.any([done.signal, ctx.signal]) }).then(() => {
        throw refusal("AgentTimeout", `The node's agent did not answer within ${waitMs} ms.`, { nodeId });
      });
      return { value: await Promise.race([answer, late]) };
    } catch (error) {
      // The caller's own end is the caller's business.
      ctx.signal.throwIfAborted();
      const failure = FleetError.from(error);
      if (failure.reason === "AgentTimeout" || failure.reason === "AgentUnreachable") this.#silent.add(nodeId);
      if (failure.code === "INTERNAL") ctx.log.error({ err: failure.cause ?? failure, nodeId }, "reading live values of a node failed");
      return { refusal: failure };
    } finally {
      done.abort();
    }
  }
}
