import { setTimeout as sleep } from "node:timers/promises";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { InstanceAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import { FormerPlacement } from "../../entities/former-placement.ts";
import { removalMessage } from "../apply-message.ts";
import type { FleetView } from "../fleet-view.ts";
import type { InstanceWriter } from "../instance-writer.ts";
import { hasFormer } from "./former-rows.ts";
import type { MigrationAgents } from "./migration-agents.ts";
import { isReachable } from "./migration-checks.ts";

export interface FormerPlacementsParts {
  /** The control plane itself; its signal ends what runs in the background. */
  ctx: RequestContext;
  writer: InstanceWriter;
  fleet: FleetView;
  agents: MigrationAgents;
  commands: AgentCommands;
}

type Ctx = Pick<RequestContext, "requestId" | "deadlineAt" | "signal">;

const REMOVE_MS = 10_000;
/** Placements that one round looks at, and how many agents are told at once. */
const BATCH = 500;
const AT_ONCE = 8;
const LOOK_AGAIN_MS = 100;

/**
 * Removes what instances leave on the nodes that they were moved from, or did not get to: the agent is told again until its host says that nothing
 * is left (its report drops the row, see InstanceReports). An older placement number makes it certain that what runs elsewhere is not meant.
 */
export class FormerPlacements {
  readonly #parts: FormerPlacementsParts;

  constructor(parts: FormerPlacementsParts) {
    this.#parts = parts;
  }

  /** Several replicas may do the same. A node that is away is told when it is back. */
  async round(): Promise<void> {
    const { ctx, writer, fleet } = this.#parts;
    const rows = await writer.store.read((em) => em.find(FormerPlacement, {}, { orderBy: { createdAt: "asc" }, limit: BATCH }));
    const due = rows.filter(({ nodeId }) => isReachable(fleet.get(nodeId)));
    while (due.length > 0 && !ctx.signal.aborted) await Promise.all(due.splice(0, AT_ONCE).map((row) => this.#remove(ctx, row)));
  }

  /** Right after a move. What is not gone within the time goes later. */
  async removeNow(ctx: Ctx, instanceId: string, nodeId: string, withinMs: number): Promise<void> {
    const { store } = this.#parts.writer;
    const row = await store.read((em) => em.findOne(FormerPlacement, { instanceId, nodeId }));
    if (row === null || !(await this.#remove(ctx, row))) return;
    const end = performance.now() + withinMs;
    while (performance.now() < end && (await store.read((em) => hasFormer(em, instanceId, nodeId)))) {
      await sleep(LOOK_AGAIN_MS, undefined, { signal: ctx.signal });
    }
  }

  /** False where the agent was not told; it is tried again. */
  async #remove(ctx: Ctx, row: FormerPlacement): Promise<boolean> {
    try {
      await this.#endAttempt(ctx, row);
      await this.#tell(ctx, row);
      return true;
    } catch (error) {
      const { code, reason, message } = FleetError.from(error);
      const { instanceId, nodeId } = row;
      if (!ctx.signal.aborted)
        this.#parts.ctx.log.info({ instanceId, nodeId, code, reason, message }, "what an instance left on a node is not removed yet");
      return false;
    }
  }

  /** What the hypervisor holds of the migration itself. The removal that follows does without, where that cannot be ended. */
  async #endAttempt(ctx: Ctx, { side, nodeId, instanceId, migrationId, generation, cookie }: FormerPlacement): Promise<void> {
    const ids = { migrationId, instanceId };
    const { agents } = this.#parts;
    try {
      if (side === "SOURCE") await agents.confirm(ctx, nodeId, ids, { generation, cookie, cancelled: false });
      else await agents.cancelTarget(ctx, nodeId, ids, generation);
    } catch (error) {
      if (FleetError.from(error).code === "UNAVAILABLE" || ctx.signal.aborted) throw error;
    }
  }

  async #tell(ctx: Ctx, row: FormerPlacement): Promise<void> {
    try {
      const { revision } = await this.#parts.commands.call(
        ctx,
        row.nodeId,
        InstanceAgentServiceDefinition,
        (agent, options) => agent.applyInstance(removalMessage(row), options),
        { deadlineMs: REMOVE_MS },
      );
      // It was told more than this database remembers (a restored backup): what is asked for now comes behind that.
      if (revision > row.revision) await this.#change(row, { revision: revision + 1 });
    } catch (error) {
      // The host has a newer placement: this one went with it.
      if (FleetError.from(error).reason !== "StaleGeneration") throw error;
      await this.#change(row, null);
    }
  }

  /** Null: it is forgotten. Only where it is still the same placement. */
  async #change({ instanceId, nodeId, generation }: FormerPlacement, change: { revision: number } | null): Promise<void> {
    const same = { instanceId, nodeId, generation };
    await this.#parts.writer.store.transaction(({ em }) =>
      change === null ? em.nativeDelete(FormerPlacement, same) : em.nativeUpdate(FormerPlacement, same, change),
    );
  }
}
