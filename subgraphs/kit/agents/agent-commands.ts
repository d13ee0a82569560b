import type { TsProtoServiceDefinition } from "nice-grpc";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { ChannelLease, ChannelPool, PoolTarget } from "../../../platform/grpc/channel-pool.ts";
import type { FleetCallOptions, GrpcClient } from "../../../platform/grpc/client.ts";
import type { Metrics } from "../../../platform/observability/metrics.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { AgentDirectory } from "./agent-directory.ts";
import { agentFailure, knownNode } from "./agent-failure.ts";
import { callTarget, type NodeRecord } from "./node-record.ts";

export interface AgentCommandsParts {
  directory: AgentDirectory;
  /** With the control plane's certificate. */
  pool: ChannelPool;
  metrics: Metrics;
}

type Context = Pick<RequestContext, "requestId" | "deadlineAt" | "signal">;

/** Commands and streams at once, of this process; beyond it: RESOURCE_EXHAUSTED. */
const MAX_OPEN = 5_000;

/**
 * Calls to agents that change something, or that stream. Each is made once, for its caller alone; nothing is repeated. For reads that many
 * ask for there is AgentCalls.
 */
export class AgentCommands {
  readonly #parts: AgentCommandsParts;
  readonly #calls;
  #open = 0;

  constructor(parts: AgentCommandsParts) {
    this.#parts = parts;
    this.#calls = parts.metrics.counter("fleetgraph_agent_commands_total", "Commands to agents and streams from them, by how they ended.", [
      "service",
      "outcome",
    ]);
  }

  /**
   * One call with one answer, `deadlineMs` at most. Throws NOT_FOUND for a node that does not exist, UNAVAILABLE with an AgentRefusal as
   * reason where the agent is not to be called or does not answer in time (what it was told may be under way), CANCELLED with the context's
   * signal, RESOURCE_EXHAUSTED (reason TooManyCalls), and what the agent itself says.
   */
  async call<Service extends TsProtoServiceDefinition, T>(
    ctx: Context,
    nodeId: string,
    service: Service,
    call: (client: GrpcClient<Service>, options: FleetCallOptions) => Promise<T>,
    { deadlineMs }: { deadlineMs: number },
  ): Promise<T> {
    const { record, target } = this.#find(nodeId);
    using lease = this.#lease(target, nodeId);
    try {
      const answer = await call(lease.client(service), { deadlineMs, context: ctx });
      this.#calls.inc({ service: service.name, outcome: "OK" });
      return answer;
    } catch (error) {
      throw this.#failed(error, service, record, target);
    }
  }

  /**
   * A stream of answers. Nothing is asked before the first `next`; `return` ends it at once, also while nothing arrives. Its lease is given
   * back with its end, so who takes it reads it to its end or returns it. Errors come with `next`, as those of `call`; a stream that the
   * agent's end cuts is UNAVAILABLE (reason AgentUnreachable).
   */
  stream<Service extends TsProtoServiceDefinition, T>(
    ctx: Context,
    nodeId: string,
    service: Service,
    open: (client: GrpcClient<Service>, options: FleetCallOptions) => AsyncIterable<T>,
  ): AsyncIterableIterator<T> {
    let opened: { answers: AsyncIterator<T>; lease: ChannelLease; record: NodeRecord; target: PoolTarget } | null = null;
    let ended = false;
    const end = () => {
      ended = true;
      opened?.lease.release();
    };
    const start = () => {
      const { record, target } = this.#find(nodeId);
      const lease = this.#lease(target, nodeId);
      try {
        return { lease, record, target, answers: open(lease.client(service), { context: ctx })[Symbol.asyncIterator]() };
      } catch (error) {
        lease.release();
        throw error;
      }
    };
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: async () => {
        if (ended) return { done: true, value: undefined };
        try {
          opened ??= start();
          const result = await opened.answers.next();
          if (result.done !== true) return result;
          if (!ended) this.#calls.inc({ service: service.name, outcome: "OK" });
          end();
          return { done: true, value: undefined };
        } catch (error) {
          end();
          throw opened === null ? error : this.#failed(error, service, opened.record, opened.target);
        }
      },
      return: async () => {
        end();
        await opened?.answers.return?.();
        return { done: true, value: undefined };
      },
    };
  }

  #find(nodeId: string): { record: NodeRecord; target: PoolTarget } {
    const record = knownNode(this.#parts.directory, nodeId);
    return { record, target: callTarget(record) };
  }

  #lease(target: PoolTarget, nodeId: string): ChannelLease {
    if (this.#open >= MAX_OPEN) {
      throw new FleetError("RESOURCE_EXHAUSTED", "Too many calls to agents are under way already.", {
        reason: "TooManyCalls",
        details: { nodeId },
      });
    }
    const lease = this.#parts.pool.lease(target);
    this.#open += 1;
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      this.#open -= 1;
      lease.release();
    };
    return { channel: lease.channel, client: lease.client.bind(lease), release, [Symbol.dispose]: release };
  }

  #failed(error: unknown, service: TsProtoServiceDefinition, record: NodeRecord, target: PoolTarget): FleetError {
    const failure = agentFailure(FleetError.from(error), record);
    // An agent that was restarted is reached by the next call, not when the channel's back-off is over.
    if (failure.code === "UNAVAILABLE") this.#parts.pool.drop(target);
    this.#calls.inc({ service: service.name, outcome: failure.reason ?? failure.code });
    return failure;
  }
}
