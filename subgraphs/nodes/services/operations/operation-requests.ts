import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import { knownNode } from "../../../kit/agents/agent-failure.ts";
import { checkId } from "../../../kit/input-checks.ts";
import {
  type CheckedOperation,
  checkConfirmation,
  checkOperation,
  type RawDisable,
  type RawEnable,
  type RawPower,
} from "./operation-input.ts";
import type { OperationStore } from "./operation-store.ts";
import type { OperationKind, OperationPeers, OperationView } from "./operation-types.ts";
import type { OperationsConfig } from "./operations-config.ts";

export interface OperationRequestsParts {
  store: OperationStore;
  peers: OperationPeers;
  directory: AgentDirectory;
  config: OperationsConfig;
  /** There is something new to be done. */
  wake: () => void;
}

/** Kinds that only an admin may ask for, and cancel. */
const FOR_ADMINS: ReadonlySet<OperationKind> = new Set(["REBOOT", "SHUTDOWN", "DELETE"]);
/** What a shutdown's payload says. */
export const ON_SITE = "A host that was shut down is not switched on from here: somebody on site has to, or its own remote management.";

/**
 * What people ask of nodes. All throw NOT_FOUND, CONFLICT (reason OperationUnderWay) where something else is being done to the node,
 * INVALID_ARGUMENT, and UNAVAILABLE where a peer that has to be asked first cannot be.
 */
export class OperationRequests {
  readonly #parts: OperationRequestsParts;

  constructor(parts: OperationRequestsParts) {
    this.#parts = parts;
  }

  /**
   * Nothing new comes to the node; its instances stay, or with `instances` leave it (MIGRATE) or are stopped (STOP), which is an operation. Null
   * without one. Rights: operator.
   */
  async disable(ctx: RequestContext, raw: RawDisable): Promise<OperationView | null> {
    requireRole(ctx.identity, "operator");
    const asked = checkOperation(raw);
    const { nodeId, reason, instances } = asked;
    knownNode(this.#parts.directory, nodeId);
    if (instances !== "REFUSE") return this.#begin(ctx, "DISABLE", asked);
    await this.#parts.store.requireNone(nodeId);
    await this.#parts.peers.setMaintenance(ctx, nodeId, { maintenance: true, reason: reason ?? "Disabled" });
    ctx.log.info({ nodeId, by: callerName(ctx.identity), reason }, "a node was disabled");
    return null;
  }

  /**
   * Instances may come again. `startInstances`: also starts what the node's last operation stopped and nobody has asked anything else of since;
   * gives how many those were. Rights: operator.
   */
  async enable(ctx: RequestContext, { nodeId, startInstances }: RawEnable): Promise<number> {
    requireRole(ctx.identity, "operator");
    checkId("nodeId", nodeId);
    knownNode(this.#parts.directory, nodeId);
    const { store, peers } = this.#parts;
    await store.requireNone(nodeId);
    await peers.setMaintenance(ctx, nodeId, { maintenance: false, reason: null });
    ctx.log.info({ nodeId, by: callerName(ctx.identity) }, "a node was enabled");
    if (startInstances !== true) return 0;
    const last = await store.lastThatStopped(nodeId);
    if (last === null) return 0;
    return (await peers.restore(ctx, last)).done;
  }

  /**
   * Rights: admin. Throws INVALID_ARGUMENT (reason ConfirmationMismatch), FAILED_PRECONDITION with a reason: InstancesRunning, UnmanagedInstancesRunning, and what the agent
   * says (PowerNotAllowed, NoLogind, NoShell, NoPermission, Inhibited, …).
   */
  reboot(ctx: RequestContext, raw: RawPower): Promise<OperationView> {
    return this.#goDown(ctx, "REBOOT", raw);
  }

  /** As `reboot`; the node stays in maintenance. Rights: admin. */
  shutdown(ctx: RequestContext, raw: RawPower): Promise<OperationView> {
    return this.#goDown(ctx, "SHUTDOWN", raw);
  }

  /** The deletion of a node whose instances have to leave it first, once whoever deletes nodes has checked the rest. Rights: admin. */
  async delete(ctx: RequestContext, raw: Omit<RawPower, "deadlineSeconds">): Promise<OperationView> {
    requireRole(ctx.identity, "admin");
    const asked = checkOperation(raw);
    checkConfirmation(raw.hostname, knownNode(this.#parts.directory, asked.nodeId).hostname);
    await this.#requireInstances(ctx, asked);
    return this.#begin(ctx, "DELETE", asked);
  }

  /**
   * What was begun is undone, and the events tell the end; a node that was being disabled stays disabled. Rights: operator; admin for what only
   * admins may ask for. Throws FAILED_PRECONDITION (reason OperationEnded, TooLateToCancel).
   */
  async cancel(ctx: RequestContext, operationId: string): Promise<OperationView> {
    requireRole(ctx.identity, "operator");
    checkId("operationId", operationId);
    const cancelled = await this.#parts.store.cancel(operationId, ({ kind }) => {
      if (FOR_ADMINS.has(kind)) requireRole(ctx.identity, "admin");
    });
    this.#parts.wake();
    return cancelled;
  }

  async #goDown(ctx: RequestContext, kind: "REBOOT" | "SHUTDOWN", raw: RawPower): Promise<OperationView> {
    requireRole(ctx.identity, "admin");
    const { store, peers, directory } = this.#parts;
    const asked = checkOperation(raw);
    checkConfirmation(raw.hostname, knownNode(directory, asked.nodeId).hostname);
    const repeated = await store.repeated({ ...asked, kind });
    if (repeated !== null) return repeated;
    await store.requireNone(asked.nodeId);
    const power = await peers.power(ctx, asked.nodeId);
    if (!(kind === "REBOOT" ? power.canReboot : power.canShutDown)) {
      throw new FleetError("FAILED_PRECONDITION", power.message || "The host cannot do that.", { reason: power.reason || "NotSupported" });
    }
    await this.#requireInstances(ctx, asked);
    return this.#begin(ctx, kind, asked);
  }

  /** Nothing runs that would be lost, or it may be moved or stopped. Looked at again before the host is told. */
  async #requireInstances(ctx: RequestContext, { nodeId, instances }: CheckedOperation): Promise<void> {
    const counts = await this.#parts.peers.count(ctx, nodeId);
    const details = { nodeId, running: counts.running, unmanagedRunning: counts.unmanagedRunning };
    if (counts.unmanagedRunning > 0) {
      const message = `${counts.unmanagedRunning} guests run there that are not the fleet's: stop them on the host, or adopt them.`;
      throw new FleetError("FAILED_PRECONDITION", message, { reason: "UnmanagedInstancesRunning", details });
    }
    if (instances === "REFUSE" && counts.running > 0) {
      const message = `${counts.running} instances run there: stop or move them, or say instances: MIGRATE or STOP.`;
      throw new FleetError("FAILED_PRECONDITION", message, { reason: "InstancesRunning", details });
    }
  }

  async #begin(ctx: RequestContext, kind: OperationKind, asked: CheckedOperation): Promise<OperationView> {
    const { store, directory, config, wake } = this.#parts;
    const { hostname } = knownNode(directory, asked.nodeId);
    const requestedBy = ctx.identity === null ? "" : callerName(ctx.identity);
    const operation = await store.create({ ...asked, kind, hostname, requestedBy }, config.preparingMs);
    ctx.log.info(
      { operationId: operation.id, kind, nodeId: asked.nodeId, by: requestedBy, reason: asked.reason },
      "an operation on a node",
    );
    wake();
    return operation;
  }
}
