import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { MigrationCheck as CheckMessage } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import { Instance } from "../../entities/instance.ts";
import type { FleetView } from "../fleet-view.ts";
import type { InstanceWriter } from "../instance-writer.ts";
import { readReservations } from "../reservations.ts";
import { specToMessage } from "../spec-message.ts";
import { hasFormer } from "./former-rows.ts";
import type { MigrationAgents } from "./migration-agents.ts";
import { check, instanceChecks, isReachable, sourceChecks, targetChecks } from "./migration-checks.ts";
import type { MigrationCheck, MigrationPreflight } from "./migration-types.ts";

export interface MigrationPreflightsParts {
  writer: InstanceWriter;
  fleet: FleetView;
  agents: MigrationAgents;
}

type Ctx = Pick<RequestContext, "requestId" | "deadlineAt" | "signal">;

/** What the source's agent says of the instance. */
export interface SourceFacts {
  checks: MigrationCheck[];
  /** Null: it could not be asked. */
  described: { description: string; probeName: string } | null;
}

/** Checks that one agent may give. */
const MAX_CHECKS = 64;
const MAX_TEXT = 1_024;

/** Looks whether an instance can be moved, and changes nothing: what the control plane knows, then what the two agents say. */
export class MigrationPreflights {
  readonly #parts: MigrationPreflightsParts;

  constructor(parts: MigrationPreflightsParts) {
    this.#parts = parts;
  }

  /** The part that is the same wherever it goes. The agent is asked only where the control plane has nothing against it. */
  async source(ctx: Ctx, instance: Instance): Promise<SourceFacts> {
    const checks = [...instanceChecks(instance), ...sourceChecks(this.#parts.fleet.get(instance.nodeId))];
    if (checks.some(({ passed }) => !passed)) return { checks, described: null };
    const { checks: said, described } = await this.#describe(ctx, instance);
    return { checks: [...checks, ...said], described };
  }

  async target(ctx: Ctx, instance: Instance, targetNodeId: string, source: SourceFacts): Promise<MigrationPreflight> {
    const { writer, fleet } = this.#parts;
    const record = fleet.get(targetNodeId);
    const facts = await writer.store.read(async (em) => ({
      reserved: (await readReservations(em, [targetNodeId])).get(targetNodeId),
      hasLeftovers: await hasFormer(em, instance.id, targetNodeId),
    }));
    const own = [...source.checks, ...targetChecks(instance, { record, ...facts })];
    const unknown = { targetNodeId, checks: own, copiesDisks: false, bytesToCopy: 0, description: source.described?.description ?? null };
    if (source.described === null || !isReachable(record) || targetNodeId === instance.nodeId) return unknown;
    const { checks, ...rest } = await this.#check(ctx, instance, targetNodeId, source.described);
    return { ...unknown, ...rest, checks: [...own, ...checks] };
  }

  /** What the agents say right before a move whose share of the target is taken. Throws UNAVAILABLE where one cannot be asked. */
  async beforeMove(ctx: Ctx, instanceId: string, targetNodeId: string): Promise<MigrationPreflight> {
    const instance = await this.#parts.writer.store.read((em) => em.findOneOrFail(Instance, { id: instanceId }));
    const { checks: said, described } = await this.#describe(ctx, instance);
    if (described === null) return { targetNodeId, checks: said, copiesDisks: false, bytesToCopy: 0, description: null };
    const { checks, ...rest } = await this.#check(ctx, instance, targetNodeId, described);
    return { targetNodeId, checks: [...said, ...checks], description: described.description, ...rest };
  }

  async #describe(ctx: Ctx, { id, nodeId, generation }: Instance): Promise<SourceFacts> {
    try {
      const { failed, ...described } = await this.#parts.agents.describe(ctx, nodeId, id, generation);
      return { checks: failed.slice(0, MAX_CHECKS).map(fromMessage), described };
    } catch (error) {
      return { checks: [unanswered("SourceAgent", error)], described: null };
    }
  }

  async #check(ctx: Ctx, instance: Instance, nodeId: string, described: { description: string; probeName: string }) {
    try {
      const request = { ...described, nodeId, instanceId: instance.id, spec: specToMessage(instance.spec, null) };
      const { checks, copiesDisks, bytesToCopy } = await this.#parts.agents.check(ctx, request);
      return { checks: checks.slice(0, MAX_CHECKS).map(fromMessage), copiesDisks, bytesToCopy };
    } catch (error) {
      return { checks: [unanswered("TargetAgent", error)], copiesDisks: false, bytesToCopy: 0 };
    }
  }
}

function fromMessage({ name, passed, message }: CheckMessage): MigrationCheck {
  const cut = (text: string, length: number) => text.slice(0, length).toWellFormed();
  return { name: cut(name, 64), passed, message: passed ? "" : cut(message, MAX_TEXT) };
}

/** An agent that does not know the question is an old one. Throws CANCELLED where whoever asks has gone. */
function unanswered(name: string, error: unknown): MigrationCheck {
  const { code, message } = FleetError.from(error);
  if (code === "CANCELLED") throw error;
  return check(name, false, code === "UNIMPLEMENTED" ? "The agent is too old to move instances: upgrade it." : message);
}
