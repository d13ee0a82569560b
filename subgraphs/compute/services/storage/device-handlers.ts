import type { RequestContext } from "../../../../platform/request-context.ts";
import { StorageAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { Instance } from "../../entities/instance.ts";
import { instanceNotFound } from "../instance-requests.ts";
import { interfaceToMessage } from "../spec-message.ts";
import type { TaskHandler, TaskRun } from "../tasks/task-types.ts";
import { type Devices, type DeviceTaskKind, plannedDevices } from "./device-plan.ts";
import { refuseWithoutDevices } from "./device-requests.ts";

/** Whether the agent may have been told of it already. */
type DeviceCheckpoint = { told: boolean };

const KINDS: readonly DeviceTaskKind[] = ["VOLUME_ATTACH", "VOLUME_DETACH", "INTERFACE_ATTACH", "INTERFACE_DETACH"];
const CONCURRENT = 16;
const DEADLINE_MS = 10 * 60_000;
/** For one call: the guest has half a minute to let go of a device. */
const PLUG_MS = 90_000;

/**
 * The handlers of the four kinds. The agent gets all that the instance is to have, so that a repeated run changes nothing twice; then the
 * instance's spec says so, with a new revision. What is cancelled in the middle is put back.
 */
export function deviceHandlers(store: Store, commands: AgentCommands): Array<TaskHandler<DeviceCheckpoint>> {
  const work = new DeviceWork(store, commands);
  return KINDS.map((kind) => ({ kind, concurrent: CONCURRENT, deadlineMs: DEADLINE_MS, run: (run) => work.run(kind, run) }));
}

class DeviceWork {
  readonly #store: Store;
  readonly #commands: AgentCommands;

  constructor(store: Store, commands: AgentCommands) {
    this.#store = store;
    this.#commands = commands;
  }

  async run(kind: DeviceTaskKind, run: TaskRun<DeviceCheckpoint>): Promise<void> {
    const instance = await this.#read(run.task.instanceId ?? "");
    let told = run.checkpoint?.told ?? false;
    try {
      run.signal.throwIfAborted();
      refuseWithoutDevices(instance);
      const wanted = plannedDevices(kind, run.task.input, instance.spec);
      await run.save({ told: true }, { status: kind.endsWith("ATTACH") ? "attaching" : "detaching" });
      told = true;
      await this.#plug(run.ctx, instance, wanted);
    } catch (error) {
      // It was cancelled, or its time is over, and the agent may have done it. Where another run goes on, that one decides.
      if (told && run.signal.aborted && !run.undoCtx.signal.aborted) await this.#plug(run.undoCtx, instance, instance.spec);
      throw error;
    }
    await run.succeed(async (instances) => {
      const changed = await instances.lockOne(instance.id);
      if (changed === null || changed.state === "DELETED") throw instanceNotFound(instance.id);
      const devices = plannedDevices(kind, run.task.input, changed.spec);
      instances.change(changed, () => {
        changed.spec = { ...changed.spec, ...devices };
        changed.revision += 1;
      });
    });
  }

  async #plug(ctx: RequestContext, { id, nodeId, generation }: Instance, { volumes, interfaces }: Devices): Promise<void> {
    const request = { nodeId, instanceId: id, generation, volumes, interfaces: interfaces.map(interfaceToMessage) };
    await this.#commands.call(ctx, nodeId, StorageAgentServiceDefinition, (client, options) => client.plugDevices(request, options), {
      deadlineMs: PLUG_MS,
    });
  }

  async #read(id: string): Promise<Instance> {
    const instance = await this.#store.read((em) => em.findOne(Instance, { id }));
    if (instance === null) throw instanceNotFound(id);
    return instance;
  }
}
