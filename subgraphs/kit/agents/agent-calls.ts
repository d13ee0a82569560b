import type { TsProtoServiceDefinition } from "nice-grpc";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { ChannelPool } from "../../../platform/grpc/channel-pool.ts";
import type { FleetCallOptions, GrpcClient } from "../../../platform/grpc/client.ts";
import type { Metrics } from "../../../platform/observability/metrics.ts";
import { type RequestContext, remainingMs } from "../../../platform/request-context.ts";
import { RequestScope } from "../request-scope.ts";
import { Semaphore } from "../semaphore.ts";
import type { AgentDirectory } from "./agent-directory.ts";
import { agentFailure, knownNode } from "./agent-failure.ts";
import { callTarget, type NodeRecord } from "./node-record.ts";
import { SharedCalls } from "./shared-calls.ts";

export interface AgentCallLimits {
  /** Milliseconds from asking to the answer, waiting in line included. */
  deadlineMs: number;
  /** Calls to one agent at once. */
  perAgent: number;
  /** Calls at once, and calls that wait. Beyond that: RESOURCE_EXHAUSTED (reason TooManyCalls). */
  overall: number;
  waiting: number;
}

export const AGENT_CALL_LIMITS: AgentCallLimits = { deadlineMs: 2000, perAgent: 4, overall: 128, waiting: 2000 };

export interface AgentCallsOptions {
  directory: AgentDirectory;
  /** With the control plane's certificate. */
  pool: ChannelPool;
  metrics: Metrics;
  limits?: Partial<AgentCallLimits>;
}

type CallAgent<Service extends TsProtoServiceDefinition, T> = (client: GrpcClient<Service>, options: FleetCallOptions) => Promise<T>;

/** Reads from agents: bounded, with a deadline, equal ones made once. Not for what changes something: that is never shared. */
export class AgentCalls {
  readonly #options: AgentCallsOptions;
  readonly #limits: AgentCallLimits;
  readonly #shared = new SharedCalls();
  readonly #overall: Semaphore;
  readonly #agents = new Map<string, Semaphore>();
  readonly #calls;

  constructor(options: AgentCallsOptions) {
    this.#options = options;
    this.#limits = { ...AGENT_CALL_LIMITS, ...options.limits };
    this.#overall = new Semaphore(this.#limits.overall);
    this.#calls = options.metrics.counter("fleetgraph_agent_calls_total", "Calls to agents, by how they ended.", ["method", "outcome"]);
  }

  /**
   * Asks the agent of a node. `method`, the node's id and `subject` (what else the question is about) tell equal calls from others.
   * Throws NOT_FOUND for a node that does not exist, UNAVAILABLE with an AgentRefusal as reason where the agent is not to be called or
   * does not answer in time, and what the agent itself says.
   */
  async read<Service extends TsProtoServiceDefinition, T>(
    ctx: RequestContext,
    nodeId: string,
    service: Service,
    method: string,
    call: CallAgent<Service, T>,
    subject = "",
  ): Promise<T> {
    const record = knownNode(this.#options.directory, nodeId);
    const target = callTarget(record);
    const agentId = record.agentId ?? "";
    return this.#shared.run(`${nodeId} ${method} ${subject}`, ctx.signal, async (signal) => {
      try {
        const answer = await this.#within(signal, agentId, record, async (deadlineMs) => {
          using lease = this.#options.pool.lease(target);
          return await call(lease.client(service), { deadlineMs, context: { requestId: ctx.requestId, deadlineAt: null, signal } });
        });
        this.#calls.inc({ method, outcome: "OK" });
        return answer;
      } catch (error) {
        const failure = agentFailure(FleetError.from(error), record);
        // An agent that was restarted is reached by the next call, not when the channel's back-off is over.
        if (failure.code === "UNAVAILABLE") this.#options.pool.drop(target);
        this.#calls.inc({ method, outcome: failure.reason ?? failure.code });
        throw failure;
      }
    });
  }

  /** Waits for its turn with this agent and with all, and gives the call what is left of the time. */
  async #within<T>(signal: AbortSignal, agentId: string, record: NodeRecord, make: (deadlineMs: number) => Promise<T>): Promise<T> {
    const agent = this.#agents.get(agentId) ?? new Semaphore(this.#limits.perAgent);
    if (this.#overall.waiting + agent.waiting >= this.#limits.waiting) {
      throw new FleetError("RESOURCE_EXHAUSTED", "Too many calls to agents wait already.", {
        reason: "TooManyCalls",
        details: { nodeId: record.nodeId },
      });
    }
    this.#agents.set(agentId, agent);
    const line = new RequestScope({ signal, deadlineMs: this.#limits.deadlineMs });
    try {
      return await agent.run(() => this.#overall.run(() => make(remainingMs(line) ?? 0), line.signal), line.signal);
    } finally {
      line.close();
      if (agent.taken === 0 && agent.waiting === 0) this.#agents.delete(agentId);
    }
  }
}
