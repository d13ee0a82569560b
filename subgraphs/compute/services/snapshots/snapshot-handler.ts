import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { FleetCallOptions, GrpcClient } from "../../../../platform/grpc/client.ts";
import {
  CreateSnapshotRequest,
  Quiesce,
  SnapshotAgentServiceDefinition,
} from "../../../../schema/generated/proto/hypervisor/v1/snapshots.ts";
import type { AgentCommands } from "../../../kit/agents/agent-commands.ts";
import type { InstanceQueries } from "../instance-queries.ts";
import type { InstanceView } from "../instance-types.ts";
import type { TaskHandler, TaskKind, TaskRun } from "../tasks/task-types.ts";
import type { QuiesceMode, SnapshotInput } from "./snapshot-types.ts";

type Client = GrpcClient<typeof SnapshotAgentServiceDefinition>;
type Work = (client: Client, named: Named, input: SnapshotInput, options: FleetCallOptions) => Promise<unknown>;

interface Named {
  nodeId: string;
  instanceId: string;
  generation: number;
  snapshotId: string;
}

const QUIESCE: Record<QuiesceMode, Quiesce> = { AUTO: Quiesce.UNSPECIFIED, NEVER: Quiesce.NEVER, REQUIRED: Quiesce.REQUIRED };

/** What the agent is asked for each kind of task; all of it may be asked again. */
const WORK: ReadonlyMap<TaskKind, Work> = new Map<TaskKind, Work>([
  [
    "SNAPSHOT_CREATE",
    (client, named, { name, description, quiesce }, options) =>
      client.createSnapshot(CreateSnapshotRequest.create({ ...named, name, description, quiesce: QUIESCE[quiesce] }), options),
  ],
  ["SNAPSHOT_REVERT", (client, named, _input, options) => client.revertSnapshot(named, options)],
  ["SNAPSHOT_DELETE", (client, named, _input, options) => client.deleteSnapshot(named, options)],
]);

/** Longer than the agent gives the host's software. */
const DEADLINE_MS = 35 * 60_000;

/** One task of a snapshot: one call to the agent of the instance's node, repeated while that is away. */
export class SnapshotHandler implements TaskHandler {
  readonly kind: TaskKind;
  readonly concurrent = 64;
  readonly deadlineMs = 6 * 3_600_000;
  readonly #commands: AgentCommands;
  readonly #queries: InstanceQueries;

  constructor(kind: TaskKind, commands: AgentCommands, queries: InstanceQueries) {
    this.kind = kind;
    this.#commands = commands;
    this.#queries = queries;
  }

  /** For the task runner. */
  static all(commands: AgentCommands, queries: InstanceQueries): SnapshotHandler[] {
    return [...WORK.keys()].map((kind) => new SnapshotHandler(kind, commands, queries));
  }

  async run(run: TaskRun): Promise<void> {
    const { ctx, task, signal } = run;
    signal.throwIfAborted();
    const input = task.input as SnapshotInput;
    const [instance] = await this.#queries.getMany(ctx, [task.instanceId ?? ""]);
    const { nodeId, generation, id: instanceId } = known(instance ?? null);
    const work = WORK.get(this.kind);
    if (work === undefined) throw new Error(`No work for ${this.kind}.`);
    run.tell({ status: "working" });
    const named = { nodeId, instanceId, generation, snapshotId: input.snapshotId };
    await this.#commands.call(ctx, nodeId, SnapshotAgentServiceDefinition, (client, options) => work(client, named, input, options), {
      deadlineMs: DEADLINE_MS,
    });
  }
}

function known(instance: InstanceView | null): InstanceView {
  if (instance !== null && instance.state !== "DELETED") return instance;
  throw new FleetError("NOT_FOUND", "The instance is not there any more.", { reason: "InstanceDeleted" });
}
