import { LockMode } from "@mikro-orm/core";
import type { Logger } from "../../../platform/observability/log.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import type { ReportInstancesRequest } from "../../../schema/generated/proto/hypervisor/v1/instances.ts";
import type { AgentDirectory } from "../../kit/agents/agent-directory.ts";
import { requireAgent, requireOwnNode } from "../../kit/agents/own-node.ts";
import type { FormerPlacement } from "../entities/former-placement.ts";
import { Instance } from "../entities/instance.ts";
import { NodeReport } from "../entities/node-report.ts";
import type { Leftover } from "./apply-message.ts";
import { forgetUnseen, takeFound } from "./found-instances.ts";
import { finishDeletion } from "./instance-requests.ts";
import type { InstanceTransaction, InstanceWriter } from "./instance-writer.ts";
import { endsFormer, formerOn } from "./migrations/former-rows.ts";
import { type HeldBack, heldBack } from "./migrations/moves.ts";
import { foldObservation } from "./observation.ts";
import { checkReport, type Report, type Seen } from "./report-input.ts";

export interface InstanceReportsParts {
  writer: InstanceWriter;
  directory: AgentDirectory;
  log: Logger;
  /** Told of what is on a host although it is not to be. */
  onLeftover(leftover: Leftover): void;
}

interface Taken {
  fullWanted: boolean;
  leftovers: Leftover[];
}

/** Takes what agents observe: one transaction per report, in the order in which each agent made them. */
export class InstanceReports {
  readonly #parts: InstanceReportsParts;

  constructor(parts: InstanceReportsParts) {
    this.#parts = parts;
  }

  /**
   * True where the next report is to be a full one. A report that was taken before is answered and left aside. Rights: the node's own agent.
   * Throws INVALID_ARGUMENT, NOT_FOUND (no such node in service), FORBIDDEN (reason NotYourNode), UNAVAILABLE while it cannot be told
   * whose the node is.
   */
  async report(ctx: RequestContext, raw: ReportInstancesRequest): Promise<boolean> {
    const { agentId } = requireAgent(ctx.identity);
    const report = checkReport(raw);
    await requireOwnNode(this.#parts.directory, ctx, report.nodeId);
    const { fullWanted, leftovers } = await this.#parts.writer.transaction((instances) => this.#take(instances, report, agentId));
    for (const leftover of leftovers) {
      this.#parts.log.warn(leftover, "a host has something of an instance that is deleted or was placed anew: it is removed");
      this.#parts.onLeftover(leftover);
    }
    return fullWanted;
  }

  async #take(instances: InstanceTransaction, report: Report, agentId: string): Promise<Taken> {
    const progress = await lockProgress(instances, report.nodeId);
    // Sessions are numbers of one agent: another one that the host was given to begins anew, whatever its clock says.
    const isSame = progress.agentId === agentId || progress.agentId === null;
    const { session, sequence } = isSame ? progress : NO_REPORT;
    const isOld = report.session < session || (report.session === session && report.sequence <= sequence);
    if (isOld) return { fullWanted: progress.fullAt === null, leftovers: [] };
    // Reports between the two were not taken, or this database has forgotten them.
    const hasGap = report.session !== session || report.sequence > sequence + 1;
    const leftovers = await this.#takeSeen(instances, report);
    const now = new Date();
    Object.assign(progress, { agentId, session: report.session, sequence: report.sequence, reportedAt: now });
    if (report.full) Object.assign(progress, { fullAt: now, typeSupport: report.typeSupport });
    else if (hasGap) progress.fullAt = null;
    return { fullWanted: progress.fullAt === null, leftovers };
  }

  async #takeSeen(instances: InstanceTransaction, { nodeId, seen, full }: Report): Promise<Leftover[]> {
    const here = await lockHere(instances, nodeId, seen, full);
    const byId = new Map(here.map((instance) => [instance.id, instance]));
    // In this order: a move that ends while this is read is then seen as ended here as well as there.
    const moving = await heldBack(instances.em, nodeId);
    const former = await formerOn(instances.em, nodeId);
    const elsewhere = await readElsewhere(instances, seen, byId);
    const leftovers: Leftover[] = [];
    const now = new Date();
    for (const one of seen) {
      if (isHeldBack(moving, one)) continue;
      const instance = one.instanceId === null ? undefined : byId.get(one.instanceId);
      const other = one.instanceId === null ? undefined : elsewhere.get(one.instanceId);
      if (instance?.managed && instance.state !== "DELETED") {
        await takeOwn(instances, instance, one, now);
        if (full) noteRolledBack(instance, one);
      } else if (one.instanceId !== null && former.has(one.instanceId))
        dropFormer(instances, former.get(one.instanceId) as FormerPlacement, one);
      else if (other ?? instance?.managed) leftovers.push(...this.#leftoverOf(nodeId, one, (other ?? instance) as Instance));
      else takeFound(instances, nodeId, one, here);
    }
    if (full) forgetUnseen(instances, here, seen);
    return leftovers;
  }

  /**
   * What is on a host of an instance that is deleted, or that was placed anew since. Of another node's instance only former placements are
   * removed: one with the current number is a mirror (two agents on one host), and not to be touched.
   */
  #leftoverOf(nodeId: string, { observation, instanceId }: Seen, { id, nodeId: placedOn, ...known }: Instance): Leftover[] {
    if (observation.state === "DELETED") return [];
    const { managed, generation, revision, state } = known;
    const isFormer =
      observation.generation < generation || (state === "DELETED" && placedOn === nodeId && observation.generation === generation);
    if (managed && isFormer) {
      // Of a placement that nobody remembers it is not known whether its disks are those of the instance where it is now: they stay.
      const keepDisks = state !== "DELETED" && placedOn !== nodeId;
      return [{ nodeId, instanceId: id, generation, revision: Math.max(revision, observation.revision) + 1, keepDisks }];
    }
    this.#parts.log.warn({ nodeId, instanceId, placedOn }, "a host reports an instance that is not its own; it is left alone");
    return [];
  }
}

/** The task that moves it decides what becomes of it: what either host has meanwhile is neither the instance's loss nor a copy of it. */
function isHeldBack({ instanceIds, nativeIds }: HeldBack, { instanceId, observation: { nativeId } }: Seen): boolean {
  return instanceId === null ? nativeId !== null && nativeIds.has(nativeId) : instanceIds.has(instanceId);
}

/** What is left of it is removed by those who remember it; once nothing is, that is no longer needed. */
function dropFormer({ em }: InstanceTransaction, placement: FormerPlacement, { observation }: Seen): void {
  if (endsFormer(placement, observation)) em.remove(placement);
}

async function takeOwn(instances: InstanceTransaction, instance: Instance, { observation }: Seen, now: Date): Promise<void> {
  let isGone = false;
  instances.change(instance, () => {
    isGone = foldObservation(instance, observation, now) === "gone";
  });
  if (isGone) await finishDeletion(instances, instance, observation.stateReason);
}

/** An agent whose disk was restored has forgotten what it was told: it is told again. */
function noteRolledBack(instance: Instance, { observation: { generation, revision } }: Seen): void {
  if (generation === instance.generation && revision < instance.appliedRevision) instance.appliedRevision = revision;
}

const NO_REPORT = { session: 0, sequence: 0 };

/** The row that orders a node's reports: nobody else takes one of this node until the transaction ends. */
async function lockProgress({ em }: InstanceTransaction, nodeId: string): Promise<NodeReport> {
  const options = { lockMode: LockMode.PESSIMISTIC_WRITE } as const;
  const known = await em.findOne(NodeReport, { nodeId }, options);
  if (known) return known;
  await em.execute(
    "insert into node_report (node_id, session, sequence, type_support, full_at, reported_at) values (?, 0, 0, '[]', null, ?) on conflict (node_id) do nothing",
    [nodeId, new Date()],
  );
  return em.findOneOrFail(NodeReport, { nodeId }, options);
}

/** The node's instances that the report is about: all of them for a full one. */
function lockHere(instances: InstanceTransaction, nodeId: string, seen: readonly Seen[], full: boolean): Promise<Instance[]> {
  const ids = seen.flatMap(({ instanceId }) => (instanceId === null ? [] : [instanceId]));
  const natives = seen.flatMap(({ instanceId, observation }) =>
    instanceId === null && observation.nativeId !== null ? [observation.nativeId] : [],
  );
  const named = [{ id: { $in: ids } }, { nativeId: { $in: natives } }];
  return instances.lock({ nodeId, $or: full ? [...named, { deletedAt: null }] : named });
}

/** Instances of other nodes that this one reports. They are only looked at: their own agents' reports change them. */
async function readElsewhere(
  { em }: InstanceTransaction,
  seen: readonly Seen[],
  here: ReadonlyMap<string, Instance>,
): Promise<Map<string, Instance>> {
  const ids = seen.flatMap(({ instanceId }) => (instanceId === null || here.has(instanceId) ? [] : [instanceId]));
  if (ids.length === 0) return new Map();
  return new Map((await em.find(Instance, { id: { $in: ids } })).map((instance) => [instance.id, instance]));
}
