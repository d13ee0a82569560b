import { callerName, requireRole } from "../../../../platform/auth/identity.ts";
import { FleetError, invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import { newId } from "../../../kit/ids.ts";
import { checkId, checkOneOf } from "../../../kit/input-checks.ts";
import type { Instance } from "../../entities/instance.ts";
import { instanceNotFound } from "../instance-requests.ts";
import type { InstanceState, InstanceView } from "../instance-types.ts";
import { instanceView } from "../instance-view.ts";
import type { InstanceTransaction, InstanceWriter } from "../instance-writer.ts";
import { refuseWhileMoving } from "../migrations/moves.ts";
import type { TaskStore } from "../tasks/task-store.ts";
import type { NewTask, TaskKind, TaskView } from "../tasks/task-types.ts";
import { QUIESCE_MODES, type SnapshotInput } from "./snapshot-types.ts";

export interface RawSnapshot {
  name?: string | null;
  description?: string | null;
  quiesce?: string | null;
  clientRequestId?: string | null;
}

export interface AskedTask {
  task: TaskView;
  instance: InstanceView;
}

const MAX_NAME = 253;
const MAX_DESCRIPTION = 4096;
/** As the agent takes it. */
const SNAPSHOT_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const SETTLED: ReadonlySet<InstanceState> = new Set(["RUNNING", "STOPPED", "SUSPENDED"]);

/**
 * What people ask of snapshots: each is a task of the instance, which tells the end. All throw NOT_FOUND, FAILED_PRECONDITION (with the state, or
 * reason SnapshotsUnsupported), CONFLICT (reason TaskUnderWay). Rights: operator.
 */
export class SnapshotRequests {
  readonly #writer: InstanceWriter;
  readonly #tasks: TaskStore;

  constructor(writer: InstanceWriter, tasks: TaskStore) {
    this.#writer = writer;
    this.#tasks = tasks;
  }

  async create(ctx: RequestContext, instanceId: string, raw: RawSnapshot): Promise<AskedTask> {
    const snapshotId = newId("snap");
    const name = checkText("name", raw.name, MAX_NAME);
    const description = checkText("description", raw.description, MAX_DESCRIPTION);
    const quiesce = checkOneOf("quiesce", raw.quiesce ?? "AUTO", QUIESCE_MODES);
    const input: SnapshotInput = { snapshotId, name: name === "" ? snapshotId : name, description, quiesce };
    return await this.#ask(ctx, "SNAPSHOT_CREATE", instanceId, input, raw.clientRequestId);
  }

  async revert(ctx: RequestContext, instanceId: string, snapshotId: string, clientRequestId?: string | null): Promise<AskedTask> {
    return await this.#ask(ctx, "SNAPSHOT_REVERT", instanceId, named(snapshotId), clientRequestId);
  }

  async delete(ctx: RequestContext, instanceId: string, snapshotId: string, clientRequestId?: string | null): Promise<AskedTask> {
    return await this.#ask(ctx, "SNAPSHOT_DELETE", instanceId, named(snapshotId), clientRequestId);
  }

  async #ask(
    ctx: RequestContext,
    kind: TaskKind,
    instanceId: string,
    input: SnapshotInput,
    clientRequestId: string | null | undefined,
  ): Promise<AskedTask> {
    requireRole(ctx.identity, "operator");
    checkId("instanceId", instanceId);
    const asked: NewTask = { kind, input, instanceId, clientRequestId: clientRequestId ?? undefined, createdBy: callerName(ctx.identity) };
    return await this.#writer.transaction(async (instances) => {
      const instance = await instances.lockOne(instanceId);
      if (instance === null) throw instanceNotFound(instanceId);
      const task = (await this.#tasks.repeated(instances, asked)) ?? (await this.#new(instances, instance, asked));
      return { task, instance: instanceView(instance) };
    });
  }

  async #new(instances: InstanceTransaction, instance: Instance, asked: NewTask): Promise<TaskView> {
    await refuseWhileMoving(instances.em, instance.id);
    if (instance.type === "CONTAINER") {
      throw new FleetError("FAILED_PRECONDITION", "Containers have no snapshots; VMs and microVMs have.", {
        reason: "SnapshotsUnsupported",
        details: { field: "instanceId" },
      });
    }
    if (!instance.managed || !SETTLED.has(instance.state)) {
      const { state, managed } = instance;
      const message = managed
        ? `The instance is ${state}: wait until it is RUNNING, STOPPED or SUSPENDED.`
        : "It is not managed: adopt it first.";
      throw new FleetError("FAILED_PRECONDITION", message, {
        reason: managed ? "InstanceNotSettled" : "InstanceUnmanaged",
        details: { field: "instanceId", state },
      });
    }
    return await this.#tasks.create(instances, { ...asked, nodeId: instance.nodeId });
  }
}

function named(snapshotId: string): SnapshotInput {
  if (!SNAPSHOT_ID.test(snapshotId)) throw invalidArgument("snapshotId", "It is not the id of a snapshot.");
  return { snapshotId, name: "", description: "", quiesce: "AUTO" };
}

function checkText(field: string, value: string | null | undefined, max: number): string {
  const text = value ?? "";
  if (text.length > max) throw invalidArgument(field, `It has at most ${max} characters.`);
  return text;
}
