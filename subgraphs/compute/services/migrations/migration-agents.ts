import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { FleetCallOptions, GrpcClient } from "../../../../platform/grpc/client.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import {
  type BeginSourceResponse,
  type CheckDestinationRequest,
  type CheckDestinationResponse,
  type DescribeSourceResponse,
  type FinishDestinationResponse,
  MigrationAgentServiceDefinition,
  type MigrationProgress,
  PerformSourceRequest,
  type PrepareDestinationRequest,
  type PrepareDestinationResponse,
} from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { FleetView } from "../fleet-view.ts";
import { type SeenSide, sideState } from "./migration-decision.ts";
import { nodeGone } from "./migration-failures.ts";

type Ctx = Pick<RequestContext, "requestId" | "deadlineAt" | "signal">;
type Client = GrpcClient<typeof MigrationAgentServiceDefinition>;

/** Of one attempt, what every call names. */
export interface AttemptIds {
  migrationId: string;
  instanceId: string;
}

const READ_MS = 30_000;
/** Disks may have to be made. */
const PREPARE_MS = 180_000;
const END_MS = 120_000;

/**
 * The steps of a migration at the two agents. All throw UNAVAILABLE where an agent cannot be asked or does not answer (what it was told may be
 * under way), FAILED_PRECONDITION (reason NodeGone) where its node has left the fleet, and what it says itself.
 */
export class MigrationAgents {
  readonly #commands: Pick<AgentCommands, "call" | "stream">;
  readonly #fleet: Pick<FleetView, "isGone">;

  constructor(commands: Pick<AgentCommands, "call" | "stream">, fleet: Pick<FleetView, "isGone">) {
    this.#commands = commands;
    this.#fleet = fleet;
  }

  describe(ctx: Ctx, nodeId: string, instanceId: string, generation: number): Promise<DescribeSourceResponse> {
    return this.#call(ctx, nodeId, READ_MS, (agent, options) => agent.describeSource({ nodeId, instanceId, generation }, options));
  }

  check(ctx: Ctx, request: CheckDestinationRequest): Promise<CheckDestinationResponse> {
    return this.#call(ctx, request.nodeId, READ_MS, (agent, options) => agent.checkDestination(request, options));
  }

  begin(ctx: Ctx, nodeId: string, ids: AttemptIds, generation: number, copiesDisks: boolean): Promise<BeginSourceResponse> {
    return this.#call(ctx, nodeId, READ_MS, (agent, options) => agent.beginSource({ ...ids, nodeId, generation, copiesDisks }, options));
  }

  prepare(ctx: Ctx, request: PrepareDestinationRequest): Promise<PrepareDestinationResponse> {
    return this.#call(ctx, request.nodeId, PREPARE_MS, (agent, options) => agent.prepareDestination(request, options));
  }

  perform(ctx: Ctx, request: Partial<PerformSourceRequest> & { nodeId: string }): AsyncIterableIterator<MigrationProgress> {
    const message = PerformSourceRequest.fromPartial(request);
    return this.#commands.stream(ctx, request.nodeId, MigrationAgentServiceDefinition, (agent, options) =>
      agent.performSource(message, options),
    );
  }

  finish(ctx: Ctx, nodeId: string, ids: AttemptIds, generation: number, cookie: string): Promise<FinishDestinationResponse> {
    return this.#call(ctx, nodeId, END_MS, (agent, options) =>
      agent.finishDestination({ ...ids, nodeId, generation, cookie, cancelled: false }, options),
    );
  }

  /** Ends the attempt at the target. True: it came too late, the guest runs there. */
  async cancelTarget(ctx: Ctx, nodeId: string, ids: AttemptIds, generation: number): Promise<boolean> {
    const request = { ...ids, nodeId, generation, cookie: "", cancelled: true };
    return this.#runs(ctx, nodeId, (agent, options) => agent.finishDestination(request, options));
  }

  /** Ends the attempt at the source. True: the guest runs there. */
  async confirm(
    ctx: Ctx,
    nodeId: string,
    ids: AttemptIds,
    end: { generation: number; cookie: string; cancelled: boolean },
  ): Promise<boolean> {
    return this.#runs(ctx, nodeId, (agent, options) => agent.confirmSource({ ...ids, ...end, nodeId }, options));
  }

  async inspect(ctx: Ctx, nodeId: string, ids: AttemptIds): Promise<SeenSide> {
    try {
      const { state, generation, attemptKnown } = await this.#call(ctx, nodeId, READ_MS, (agent, options) =>
        agent.inspectMigration({ ...ids, nodeId }, options),
      );
      const known = sideState(state);
      if (known === null) throw new FleetError("UNAVAILABLE", `Its agent says ${state.slice(0, 64)}, which this version does not know.`);
      return { state: known, generation, attemptKnown };
    } catch (error) {
      if (hasLeft(error)) return "gone";
      throw error;
    }
  }

  /** An agent that has nothing of the instance does not run it. */
  async #runs(
    ctx: Ctx,
    nodeId: string,
    call: (agent: Client, options: FleetCallOptions) => Promise<{ running: boolean }>,
  ): Promise<boolean> {
    try {
      return (await this.#call(ctx, nodeId, END_MS, call)).running;
    } catch (error) {
      if (FleetError.from(error).code === "NOT_FOUND") return false;
      throw error;
    }
  }

  async #call<T>(ctx: Ctx, nodeId: string, deadlineMs: number, call: (agent: Client, options: FleetCallOptions) => Promise<T>): Promise<T> {
    if (this.#fleet.isGone(nodeId)) throw nodeGone(nodeId);
    try {
      return await this.#commands.call(ctx, nodeId, MigrationAgentServiceDefinition, call, { deadlineMs });
    } catch (error) {
      throw notYetThere(FleetError.from(error));
    }
  }
}

/** Whether the node has left the fleet, so that nobody can be asked. */
export function hasLeft(error: unknown): boolean {
  return FleetError.from(error).reason === "NodeGone";
}

/** An agent that has just started, and does not stand for its node yet, knows nothing of it; this says nothing about the instance. */
function notYetThere(error: FleetError): FleetError {
  const isAboutNode = error.code === "NOT_FOUND" && error.details["kind"] === "Node";
  return isAboutNode ? new FleetError("UNAVAILABLE", "Its agent does not stand for the node yet.", { cause: error }) : error;
}
