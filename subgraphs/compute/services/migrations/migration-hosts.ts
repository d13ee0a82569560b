import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { FleetView } from "../fleet-view.ts";
import type { InstanceWriter } from "../instance-writer.ts";
import type { AttemptIds, MigrationAgents } from "./migration-agents.ts";
import { hasLeft } from "./migration-agents.ts";
import { decide, type SeenSide, type Verdict } from "./migration-decision.ts";
import { waitingFor } from "./migration-failures.ts";
import type { MigrationCheckpoint } from "./migration-types.ts";
import { type MoveIds, type Return, showMove } from "./moves.ts";

export interface MigrationHostsParts {
  writer: InstanceWriter;
  fleet: FleetView;
  agents: MigrationAgents;
}

/**
 * The two hosts of one migration, where something went wrong: what they have of the instance, and how the attempt is ended there. What has to be
 * known and cannot be asked now is waited for: UNAVAILABLE is thrown, and the instance shows for whom.
 */
export class MigrationHosts {
  readonly #parts: MigrationHostsParts;
  readonly #taskId: string;
  /** Goes on when the task is cancelled. */
  readonly #ctx: RequestContext;

  constructor(parts: MigrationHostsParts, taskId: string, ctx: RequestContext) {
    this.#parts = parts;
    this.#taskId = taskId;
    this.#ctx = ctx;
  }

  /** What the hosts have of it, and what follows. `refused`: the target has answered, and not that it runs the guest. */
  async judge(state: MigrationCheckpoint, refused: boolean): Promise<Exclude<Verdict, "wait">> {
    const { sourceNodeId, targetNodeId, generation, finishAsked } = state;
    const { deleting } = await this.look(state, null);
    const verdict = await decide({
      target: await this.#inspect(state, targetNodeId),
      source: () => this.#inspect(state, sourceNodeId),
      ...{ generation, finishAsked, refused, deleting },
    });
    if (verdict !== "wait") return verdict;
    const message = "it has left the fleet, and may run the guest. Admit its host again, or delete the instance by force.";
    throw await this.wait(state, targetNodeId, new FleetError("FAILED_PRECONDITION", message, { reason: "NodeGone" }));
  }

  /** Ends the attempt at the target, so that nothing of it can run there any more. True: it came too late, the guest runs there. */
  async endAtTarget(state: MigrationCheckpoint, how: Return): Promise<boolean> {
    const { targetNodeId, generation } = state;
    try {
      return await this.#parts.agents.cancelTarget(this.#ctx, targetNodeId, this.attempt(state), generation);
    } catch (error) {
      if (!hasLeft(error)) throw await this.wait(state, targetNodeId, error);
      how.targetUnsure = true;
      return false;
    }
  }

  /**
   * Ends it at the source, which runs the guest. One that stands still there all the same is brought back by its agent. Where nobody knows whether
   * the target runs it, which is so only of an instance that is to be deleted, it stays as it is.
   */
  async endAtSource(state: MigrationCheckpoint, how: Return): Promise<void> {
    const { sourceNodeId, sourceGeneration: generation, finishAsked } = state;
    if (how.targetUnsure && finishAsked) return;
    const end = { generation, cookie: "", cancelled: true };
    try {
      if (await this.#parts.agents.confirm(this.#ctx, sourceNodeId, this.attempt(state), end)) return;
    } catch (error) {
      if (!hasLeft(error)) throw await this.wait(state, sourceNodeId, error);
    }
    const left = await this.#inspect(state, sourceNodeId);
    how.resume = left === "gone" || left.state === "PAUSED";
  }

  /** To be thrown: the run ends, and its task runs again. */
  async wait(state: MigrationCheckpoint, nodeId: string, error: unknown): Promise<unknown> {
    if (this.#ctx.signal.aborted) return error;
    const hostname = this.hostname(nodeId);
    await this.look(state, `being moved: waiting for ${hostname}`);
    return waitingFor(hostname, error);
  }

  /** What the instance shows; null: as before. Gives whether it is to be deleted. */
  look(state: MigrationCheckpoint, activity: string | null): Promise<{ deleting: boolean }> {
    return this.#parts.writer.transaction((instances) => showMove(instances, this.ids(state), activity));
  }

  hostname(nodeId: string): string {
    return this.#parts.fleet.get(nodeId)?.hostname ?? nodeId;
  }

  ids({ instanceId }: MigrationCheckpoint): MoveIds {
    return { instanceId, taskId: this.#taskId };
  }

  attempt({ instanceId }: MigrationCheckpoint): AttemptIds {
    return { migrationId: this.#taskId, instanceId };
  }

  async #inspect(state: MigrationCheckpoint, nodeId: string): Promise<SeenSide> {
    try {
      return await this.#parts.agents.inspect(this.#ctx, nodeId, this.attempt(state));
    } catch (error) {
      throw await this.wait(state, nodeId, error);
    }
  }
}
