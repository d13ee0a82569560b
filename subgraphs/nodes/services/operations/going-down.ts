import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { PowerState } from "../../../../schema/generated/proto/hypervisor/v1/power.ts";
import { ended, failed, isPassing, type StepParts, startedMeanwhile } from "./operation-outcomes.ts";
import type { OperationChange, OperationRecord } from "./operation-types.ts";

/** Of an agent whose lease has run out: it need not be waited for longer. */
const OFFLINE = "NodeOffline";

/** From the order to go down to the host's end or return. */
export function stepDown(ctx: RequestContext, operation: OperationRecord, parts: StepParts): Promise<OperationChange> {
  if (operation.phase === "GOING_DOWN") return goDown(ctx, operation, parts);
  return operation.kind === "REBOOT" ? waitForReturn(ctx, operation, parts) : waitForEnd(ctx, operation, parts);
}

/** That it may have been told is stored before it is told. */
async function goDown(ctx: RequestContext, operation: OperationRecord, parts: StepParts): Promise<OperationChange> {
  const { peers, config, now } = parts;
  if (!operation.ordered) {
    if (operation.cancelRequested) return failed(operation, null, config, now);
    const { running, unmanagedRunning } = await peers.count(ctx, operation.nodeId);
    if (running + unmanagedRunning > 0) return startedMeanwhile(operation, config, now);
    return { ordered: true, pauseMs: 0 };
  }
  const phase = operation.kind === "REBOOT" ? "WAITING_FOR_RETURN" : "WAITING_FOR_END";
  const waiting = { phase, phaseUntil: now + operation.deadlineMs, pauseMs: config.pollMs } as const;
  const refusal = await tell(ctx, operation, parts);
  if (refusal === null) return waiting;
  // The answer may be what got lost: whether the host goes down is seen by waiting for it.
  if (isPassing(refusal)) return { ...waiting, waitingFor: refusal.message };
  // It was told, and is back already.
  if (refusal.reason === "AnotherBoot" && operation.kind === "REBOOT") return waiting;
  return failed(operation, refusal, config, now);
}

async function waitForReturn(ctx: RequestContext, operation: OperationRecord, parts: StepParts): Promise<OperationChange> {
  const { config, now } = parts;
  const power = await ask(ctx, operation, parts);
  const isOver = now >= operation.phaseUntil;
  if (power instanceof FleetError) {
    const silentSince = operation.silentSince ?? now;
    if (!isOver) return { silentSince, waitingFor: power.message, pauseMs: config.pollMs };
    const minutes = Math.round(operation.deadlineMs / 60_000);
    const message = `The host did not come back within ${minutes} min: ${power.message} The node stays in maintenance; somebody has to look at the host.`;
    return ended("FAILED", new FleetError("DEADLINE_EXCEEDED", message, { reason: "DidNotReturn" }));
  }
  if (power.bootId !== "" && power.bootId !== operation.bootId)
    return { phase: "RESTORING", phaseUntil: now + config.restoreMs, pauseMs: 0 };
  return stillUp(ctx, operation, power, parts);
}

async function waitForEnd(ctx: RequestContext, operation: OperationRecord, parts: StepParts): Promise<OperationChange> {
  const { config, now } = parts;
  const power = await ask(ctx, operation, parts);
  if (power instanceof FleetError) {
    const silentSince = operation.silentSince ?? now;
    if (power.reason === OFFLINE || now - silentSince >= config.silentMs) return { silentSince, ...ended("SUCCEEDED") };
    return { silentSince, waitingFor: "The host does not answer any more.", pauseMs: config.pollMs };
  }
  // Somebody has switched it on again since.
  if (power.bootId !== "" && power.bootId !== operation.bootId) return ended("SUCCEEDED");
  return stillUp(ctx, operation, power, parts);
}

/** The boot that was to end answers. */
async function stillUp(ctx: RequestContext, operation: OperationRecord, power: PowerState, parts: StepParts): Promise<OperationChange> {
  const { config, now } = parts;
  if (now >= operation.phaseUntil) {
    const message = "The host was told, and is still up. The node stays in maintenance; something on the host holds it back.";
    return ended("FAILED", new FleetError("DEADLINE_EXCEEDED", message, { reason: "DidNotGoDown" }));
  }
  // The order got lost, or the agent was restarted and does not remember it.
  if (power.operationId !== operation.id) {
    const refusal = await tell(ctx, operation, parts);
    if (refusal !== null && !isPassing(refusal) && refusal.reason !== "AnotherBoot") return failed(operation, refusal, config, now);
  }
  return { silentSince: null, waitingFor: "The host is still up.", pauseMs: config.pollMs };
}

/** Null: it was told, and has taken it. */
async function tell(ctx: RequestContext, operation: OperationRecord, { peers }: StepParts): Promise<FleetError | null> {
  try {
    await peers.order(ctx, operation);
    return null;
  } catch (error) {
    if (ctx.signal.aborted) throw error;
    return FleetError.from(error);
  }
}

/** The error: it does not answer, which is what is expected for a while. */
async function ask(ctx: RequestContext, { nodeId }: OperationRecord, { peers }: StepParts): Promise<PowerState | FleetError> {
  try {
    return await peers.power(ctx, nodeId);
  } catch (error) {
    const failure = FleetError.from(error);
    if (ctx.signal.aborted || !isPassing(failure)) throw error;
    return failure;
  }
}
