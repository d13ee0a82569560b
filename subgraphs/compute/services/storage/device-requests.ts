import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { checkId, checkName } from "../../../kit/input-checks.ts";
import type { JsonObject } from "../../../kit/store/json.ts";
import type { Instance } from "../../entities/instance.ts";
import { instanceNotFound } from "../instance-requests.ts";
import type { InstanceView } from "../instance-types.ts";
import { instanceView } from "../instance-view.ts";
import type { InstanceWriter } from "../instance-writer.ts";
import { checkAttachedVolume, checkDeviceName, checkInterface, type RawAttachedVolume, type RawInterface } from "../spec-devices-input.ts";
import type { TaskStore } from "../tasks/task-store.ts";
import type { TaskView } from "../tasks/task-types.ts";
import { type DeviceTaskKind, plannedDevices } from "./device-plan.ts";

export interface DeviceRequest {
  instanceId: string;
  clientRequestId?: string | null;
}

export interface DeviceAnswer {
  task: TaskView;
  /** Before the change: it has the device, or has it no more, when the task has succeeded. */
  instance: InstanceView;
}

/**
 * Attaching volumes and interfaces to instances and detaching them, running or stopped: each a task, one at a time for an instance. All throw
 * NOT_FOUND, CONFLICT (reason TaskUnderWay), and FAILED_PRECONDITION with a reason where the instance takes no devices now.
 */
export class DeviceRequests {
  readonly #writer: InstanceWriter;
  readonly #tasks: TaskStore;

  constructor(writer: InstanceWriter, tasks: TaskStore) {
    this.#writer = writer;
    this.#tasks = tasks;
  }

  /** Rights: operator. Throws ALREADY_EXISTS where the instance has a disk of that name, or the volume. */
  async attachVolume(ctx: RequestContext, raw: DeviceRequest & RawAttachedVolume): Promise<DeviceAnswer> {
    requireRole(ctx.identity, "operator");
    return this.#ask(ctx, raw, "VOLUME_ATTACH", () => checkAttachedVolume(raw));
  }

  /** Rights: operator. The volume itself stays. */
  async detachVolume(ctx: RequestContext, raw: DeviceRequest & { name: string }): Promise<DeviceAnswer> {
    requireRole(ctx.identity, "operator");
    return this.#ask(ctx, raw, "VOLUME_DETACH", () => ({ name: checkDeviceName("name", raw.name) }));
  }

  /** Rights: operator. Throws ALREADY_EXISTS where the instance has an interface of that name. */
  async attachInterface(ctx: RequestContext, raw: DeviceRequest & RawInterface): Promise<DeviceAnswer> {
    requireRole(ctx.identity, "operator");
    return this.#ask(ctx, raw, "INTERFACE_ATTACH", ({ type }) => checkInterface(raw, type));
  }

  /** Rights: operator. */
  async detachInterface(ctx: RequestContext, raw: DeviceRequest & { name: string }): Promise<DeviceAnswer> {
    requireRole(ctx.identity, "operator");
    return this.#ask(ctx, raw, "INTERFACE_DETACH", () => ({ name: checkDeviceName("name", raw.name) }));
  }

  async #ask(
    ctx: RequestContext,
    raw: DeviceRequest,
    kind: DeviceTaskKind,
    check: (instance: Instance) => JsonObject,
  ): Promise<DeviceAnswer> {
    requireRole(ctx.identity, "operator");
    const instanceId = checkId("instanceId", raw.instanceId);
    const clientRequestId = checkName("clientRequestId", raw.clientRequestId) ?? undefined;
    const createdBy = callerName(ctx.identity);
    return this.#writer.transaction(async (instances) => {
      const instance = await instances.lockOne(instanceId);
      if (instance === null) throw instanceNotFound(instanceId);
      const repeated = await this.#tasks.repeated(instances, { kind, instanceId, clientRequestId, input: {}, createdBy });
      if (repeated !== null) return { task: repeated, instance: instanceView(instance) };
      refuseWithoutDevices(instance);
      const input = check(instance);
      // What cannot be is refused now; the task plans again with what the instance has then.
      plannedDevices(kind, input, instance.spec);
      const task = await this.#tasks.create(instances, {
        kind,
        input,
        instanceId,
        nodeId: instance.nodeId,
        clientRequestId,
        createdBy,
      });
      return { task, instance: instanceView(instance) };
    });
  }
}

/** Whether devices may be plugged now; asked for again by the task. */
export function refuseWithoutDevices(instance: Instance): void {
  const refusal = whyNoDevices(instance);
  if (refusal === null) return;
  const [reason, message] = refusal;
  const { id, state, type } = instance;
  throw new FleetError("FAILED_PRECONDITION", message, { reason, details: { instanceId: id, state, type } });
}

function whyNoDevices({ managed, type, state, desiredState, made }: Instance): [reason: string, message: string] | null {
  if (state === "DELETED") return ["InstanceDeleted", "This instance was deleted."];
  if (!managed) return ["InstanceUnmanaged", "This instance was found on its host and is not touched unless an admin adopts it."];
  if (desiredState === "DELETED") return ["InstanceBeingDeleted", "This instance is being deleted."];
  if (type === "CONTAINER") return ["ContainerTakesNoDevices", "A container takes neither volumes nor interfaces: it has volumeMounts."];
  if (!made || state === "CREATING")
    return ["InstanceNotMade", "This instance is not made yet: wait until it is, or name them when it is made."];
  if (type === "MICROVM" && state !== "STOPPED") {
    return ["HotPlugUnsupported", "A microVM takes and gives no devices while it runs: stop it first."];
  }
  return null;
}
