import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { stepDown } from "./going-down.ts";
import { ended, failed, isPassing, ownReason, type StepParts, startedMeanwhile } from "./operation-outcomes.ts";
import type { OperationChange, OperationPeers, OperationRecord } from "./operation-types.ts";
import type { OperationsConfig } from "./operations-config.ts";

const AT_ONCE = { pauseMs: 0 };

/**
 * One step of an operation: looks, does what is next, and says what that leads to. Each step can be taken twice: what it asks of others is
 * idempotent, and what it has to know afterwards was stored by the step before. Never throws but for the context's signal.
 */
export async function takeStep(ctx: RequestContext, operation: OperationRecord, parts: StepParts): Promise<OperationChange> {
  try {
    return { waitingFor: null, failures: 0, ...(await nextChange(ctx, operation, parts)) };
  } catch (error) {
    if (ctx.signal.aborted) throw error;
    const failure = FleetError.from(error);
    if (failure.code === "INTERNAL") ctx.log.error({ err: error, operationId: operation.id }, "a step of an operation failed");
    return afterFailure(operation, failure, parts);
  }
}

function nextChange(ctx: RequestContext, operation: OperationRecord, parts: StepParts): Promise<OperationChange> {
  switch (operation.phase) {
    case "PREPARING":
      return prepare(ctx, operation, parts);
    case "EVACUATING":
      return evacuate(ctx, operation, parts);
    case "GOING_DOWN":
    case "WAITING_FOR_END":
    case "WAITING_FOR_RETURN":
      return stepDown(ctx, operation, parts);
    case "RESTORING":
      return restore(ctx, operation, parts);
    case "REMOVING":
      return remove(ctx, operation, parts);
    case "UNDOING":
      return undo(ctx, operation, parts);
  }
}

/** Others may not answer for a while, but no longer than the phase lasts. */
function afterFailure(operation: OperationRecord, failure: FleetError, { config, now }: StepParts): OperationChange {
  const { phase, phaseUntil, failures } = operation;
  const isOver = now >= phaseUntil;
  if (phase === "UNDOING" && isOver) return ended(operation.outcome ?? "FAILED");
  if (phase === "RESTORING" && isOver) {
    return ended("FAILED", new FleetError(failure.code, `The host is back, but: ${failure.message}`, { reason: "NotRestored" }));
  }
  if (phase !== "UNDOING" && phase !== "RESTORING") {
    if (failure.code === "NOT_FOUND") {
      return ended("FAILED", new FleetError("FAILED_PRECONDITION", "The node has left the fleet.", { reason: "NodeGone" }));
    }
    if (isOver || !isPassing(failure)) return failed(operation, failure, config, now);
  }
  const pauseMs = Math.min(config.longestPauseMs, config.pollMs * 2 ** Math.min(failures, 10));
  return { waitingFor: failure.message.slice(0, 1000), failures: failures + 1, pauseMs };
}

/** The node takes nothing new; what that was before is stored first. */
async function prepare(ctx: RequestContext, operation: OperationRecord, { peers, config, now }: StepParts): Promise<OperationChange> {
  const { nodeId, kind, instances } = operation;
  if (operation.cancelRequested) return failed(operation, null, config, now);
  if (operation.formerMaintenance === null) {
    const former = await peers.maintenance(ctx, nodeId);
    if (former === null) throw new FleetError("NOT_FOUND", "The node has left the fleet.");
    return { formerMaintenance: former.maintenance, formerReason: former.reason, ...AT_ONCE };
  }
  await peers.setMaintenance(ctx, nodeId, { maintenance: true, reason: ownReason(operation) });
  const goesDown = kind === "REBOOT" || kind === "SHUTDOWN";
  const bootId = goesDown ? (await peers.power(ctx, nodeId)).bootId : null;
  if (bootId === "") {
    throw new FleetError("FAILED_PRECONDITION", "The host does not tell which boot this is.", { reason: "NoBootId" });
  }
  if (instances !== "REFUSE") return { bootId, phase: "EVACUATING", phaseUntil: now + config.evacuationMs, ...AT_ONCE };
  return { bootId, ...afterEvacuation(operation, config, now) };
}

async function evacuate(ctx: RequestContext, operation: OperationRecord, { peers, config, now }: StepParts): Promise<OperationChange> {
  if (operation.cancelRequested) return failed(operation, null, config, now);
  const progress = await peers.evacuate(ctx, operation, false);
  if (progress.remaining > 0) {
    if (now < operation.phaseUntil) return { progress, pauseMs: config.pollMs };
    const late = new FleetError("DEADLINE_EXCEEDED", "Its instances did not leave in time.", { reason: "EvacuationTimeout" });
    return { progress, ...failed(operation, late, config, now) };
  }
  const [first] = progress.failures;
  if (first !== undefined) {
    const message = `${progress.failures.length} of its instances can be neither moved nor stopped as asked; the first: ${first.name}: ${first.message}`;
    const incomplete = new FleetError("FAILED_PRECONDITION", message, { reason: "EvacuationIncomplete" });
    return { progress, ...failed(operation, incomplete, config, now) };
  }
  return { progress, ...afterEvacuation(operation, config, now) };
}

function afterEvacuation(operation: OperationRecord, config: OperationsConfig, now: number): OperationChange {
  if (operation.kind === "DISABLE") return ended("SUCCEEDED");
  const phase = operation.kind === "DELETE" ? "REMOVING" : "GOING_DOWN";
  return { phase, phaseUntil: now + config.handOverMs, ...AT_ONCE };
}

/** The host is back. */
async function restore(ctx: RequestContext, operation: OperationRecord, { peers, config, now }: StepParts): Promise<OperationChange> {
  if (operation.instances === "STOP") {
    const { remaining } = await peers.restore(ctx, operation);
    if (remaining > 0 && now < operation.phaseUntil) return { pauseMs: config.pollMs };
  }
  await putMaintenanceBack(ctx, operation, peers);
  return ended("SUCCEEDED");
}

async function remove(ctx: RequestContext, operation: OperationRecord, { peers, config, now }: StepParts): Promise<OperationChange> {
  if (operation.cancelRequested && !operation.ordered) return failed(operation, null, config, now);
  if (!operation.ordered) {
    const { running, unmanagedRunning } = await peers.count(ctx, operation.nodeId);
    if (running + unmanagedRunning > 0) return startedMeanwhile(operation, config, now);
    return { ordered: true, ...AT_ONCE };
  }
  await peers.remove(ctx, operation);
  return ended("SUCCEEDED");
}

/** Nothing happened to the host: as it was before, but for what has been moved. */
async function undo(ctx: RequestContext, operation: OperationRecord, { peers, config, now }: StepParts): Promise<OperationChange> {
  const isOver = now >= operation.phaseUntil;
  if (operation.instances !== "REFUSE" && operation.formerMaintenance !== null) {
    const progress = await peers.evacuate(ctx, operation, true);
    if (progress.underWay > 0 && !isOver) return { progress, pauseMs: config.pollMs };
    const { remaining } = await peers.restore(ctx, operation);
    if (remaining > 0 && !isOver) return { pauseMs: config.pollMs };
  }
  if (operation.kind !== "DISABLE") await putMaintenanceBack(ctx, operation, peers);
  return ended(operation.outcome ?? "FAILED");
}

/** Unless somebody has set it otherwise since. */
async function putMaintenanceBack(ctx: RequestContext, operation: OperationRecord, peers: OperationPeers): Promise<void> {
  const { nodeId, formerMaintenance, formerReason } = operation;
  const now = await peers.maintenance(ctx, nodeId);
  if (formerMaintenance === null || now === null || !now.maintenance || now.reason !== ownReason(operation)) return;
  await peers.setMaintenance(ctx, nodeId, { maintenance: formerMaintenance, reason: formerReason });
}
