import { requireRole } from "../../../platform/auth/identity.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { checkId } from "../../kit/input-checks.ts";
import type { Instance } from "../entities/instance.ts";
import type { FleetView } from "./fleet-view.ts";
import { checkRequestOptions, checkResize, type RawRequestOptions, type RawResize } from "./instance-input.ts";
import { type InstanceView, resourcesOf } from "./instance-types.ts";
import { instanceView } from "./instance-view.ts";
import type { InstanceTransaction, InstanceWriter } from "./instance-writer.ts";
import { isMoving, refuseWhileMoving } from "./migrations/moves.ts";
import { release, reserveAnyway } from "./reservations.ts";
import { takeResize } from "./resizing.ts";
import { applyRequest, NODE_GONE, type RequestOptions, refusedRequest, rowFor } from "./state-machine.ts";
import type { InstanceRequest } from "./state-table.ts";

/**
 * What people ask of instances. Each returns at once with the instance in its transitional state; its events tell the end. All throw
 * NOT_FOUND, and FAILED_PRECONDITION with the state and what may be asked instead, as the state table says, or with the reason TaskUnderWay
 * while the instance is being moved.
 */
export class InstanceRequests {
  readonly #writer: InstanceWriter;
  readonly #fleet: FleetView;

  constructor(writer: InstanceWriter, fleet: FleetView) {
    this.#writer = writer;
    this.#fleet = fleet;
  }

  /** Rights: operator. */
  start(ctx: RequestContext, id: string): Promise<InstanceView> {
    return this.#ask(ctx, id, "start", {});
  }

  /** Rights: operator. By force: powered off, or killed, at once. */
  stop(ctx: RequestContext, id: string, options: RawRequestOptions): Promise<InstanceView> {
    return this.#ask(ctx, id, "stop", options);
  }

  /** Rights: operator. */
  restart(ctx: RequestContext, id: string, options: RawRequestOptions): Promise<InstanceView> {
    return this.#ask(ctx, id, "restart", options);
  }

  /** Rights: operator. To disk: a VM's or microVM's memory is written to its host's disk and freed; its reservation stays. */
  async suspend(ctx: RequestContext, id: string, { toDisk }: { toDisk?: boolean | null } = {}): Promise<InstanceView> {
    requireRole(ctx.identity, "operator");
    return this.#change(id, async (instances, instance) => {
      if (toDisk && instance.type === "CONTAINER") {
        throw new FleetError("FAILED_PRECONDITION", "A container's memory cannot be written to disk: suspend it without.", {
          reason: "SuspendToDiskUnsupported",
          details: { field: "toDisk" },
        });
      }
      return instances.change(instance, () => {
        applyRequest(instance, "suspend");
        instance.suspendToDisk = toDisk ?? false;
      });
    });
  }

  /** Rights: operator. */
  resume(ctx: RequestContext, id: string): Promise<InstanceView> {
    return this.#ask(ctx, id, "resume", {});
  }

  /**
   * Rights: operator. What is left out stays; disks only grow. Throws INVALID_ARGUMENT (no such disk), FAILED_PRECONDITION (reason
   * DiskShrink), RESOURCE_EXHAUSTED (reason NoNodeFits) where its node has not that much.
   */
  async resize(ctx: RequestContext, id: string, raw: RawResize): Promise<InstanceView> {
    requireRole(ctx.identity, "operator");
    const resize = checkResize(raw);
    return this.#change(id, async (instances, instance) => {
      if (rowFor(instance, "resize", false) === null) throw refusedRequest(instance, "resize");
      const spec = await takeResize(instances.em, instance, resize, this.#fleet.get(instance.nodeId));
      return instances.change(instance, () => {
        applyRequest(instance, "resize");
        instance.spec = spec;
        Object.assign(instance, resourcesOf(spec));
      });
    });
  }

  /**
   * Rights: operator. It is DELETED, and its reservation free, when nothing of it is left on its host; while that cannot be reached, the
   * deletion is remembered. By force, also where its node has left the fleet: what is still there is removed if the host comes back; and
   * also while it is being moved, which ends the move.
   */
  async delete(ctx: RequestContext, id: string, raw: RawRequestOptions): Promise<InstanceView> {
    requireRole(ctx.identity, "operator");
    const options = checkRequestOptions(raw);
    const change = async (instances: InstanceTransaction, instance: Instance) => {
      const isGone = options.force && instance.managed && instance.state !== "DELETED" && this.#fleet.isGone(instance.nodeId);
      // Of one that moves, the move is undone first; then its agent is told.
      if (isGone && !(await isMoving(instances.em, id))) return finishDeletion(instances, instance, NODE_GONE);
      return instances.change(instance, () => applyRequest(instance, "delete", options));
    };
    return this.#change(id, change, { whileMoving: options.force });
  }

  /** Rights: admin. Takes one that was found on a host into the fleet's care; what it uses is reserved, whether there is room or not. */
  async adopt(ctx: RequestContext, id: string): Promise<InstanceView> {
    requireRole(ctx.identity, "admin");
    return this.#change(id, async (instances, instance) => {
      if (instance.nativeId === null && !instance.managed) throw new FleetError("FAILED_PRECONDITION", "Its host does not say what it is.");
      if (rowFor(instance, "adopt", false) === null) throw refusedRequest(instance, "adopt");
      const amount = resourcesOf(instance.spec);
      await reserveAnyway(instances.em, instance.nodeId, amount);
      return instances.change(instance, () => {
        applyRequest(instance, "adopt");
        // One that bears the mark of a placement which this database has forgotten keeps that number.
        instance.generation = Math.max(1, instance.generation);
        Object.assign(instance, amount);
      });
    });
  }

  async #ask(ctx: RequestContext, id: string, request: InstanceRequest, raw: RawRequestOptions): Promise<InstanceView> {
    requireRole(ctx.identity, "operator");
    const options: RequestOptions = checkRequestOptions(raw);
    return this.#change(id, async (instances, instance) => instances.change(instance, () => applyRequest(instance, request, options)));
  }

  async #change(
    id: string,
    change: (instances: InstanceTransaction, instance: Instance) => Promise<InstanceView>,
    { whileMoving = false } = {},
  ): Promise<InstanceView> {
    checkId("instanceId", id);
    return this.#writer.transaction(async (instances) => {
      const instance = await instances.lockOne(id);
      if (!instance) throw instanceNotFound(id);
      if (!whileMoving) await refuseWhileMoving(instances.em, id);
      return change(instances, instance);
    });
  }
}

/** Nothing is left of it: its reservation is free with the same commit. */
export async function finishDeletion(instances: InstanceTransaction, instance: Instance, reason: string | null): Promise<InstanceView> {
  if (instance.state === "DELETED") return instanceView(instance);
  await release(instances.em, instance.nodeId, instance);
  return instances.change(instance, () => {
    instance.state = "DELETED";
    instance.desiredState = "DELETED";
    instance.stateReason = reason;
    instance.errorMessage = null;
    instance.activity = null;
    instance.ipAddresses = [];
    instance.deletedAt = new Date();
    // What was never told is told by whoever reports a trace of it.
    instance.revision += 1;
    instance.appliedRevision = instance.revision;
  });
}

/** NOT_FOUND that names the field, as every refusal of input does. */
export function instanceNotFound(id: string, field = "instanceId"): FleetError {
  return new FleetError("NOT_FOUND", `Instance ${JSON.stringify(id.slice(0, 128))} does not exist.`, {
    details: { field, kind: "Instance", id: id.slice(0, 128) },
  });
}
