import { type GrpcService, grpcService } from "../../platform/grpc/server.ts";
import { InstanceState, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { InstanceObservation } from "../../schema/generated/proto/hypervisor/v1/instances.ts";
import { MigrationAgentServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/migration.ts";
import { type Copy, type MigrationAgent, MigrationWorld } from "./migration-world.ts";

/** As a host shows a guest to others than those who move it: one that waits, or stands still, is paused. */
const SHOWN: Record<Copy["state"], InstanceState> = {
  INCOMING: InstanceState.SUSPENDED,
  PAUSED: InstanceState.SUSPENDED,
  RUNNING: InstanceState.RUNNING,
  STOPPED: InstanceState.STOPPED,
};

/** What it needs of the agent that it belongs to. */
interface ReportingAgent {
  readonly nodeId: string;
  readonly host: Map<string, { nativeId: string; instanceId: string; generation: number; state: InstanceState }>;
  knows(instanceId: string): boolean;
  observe(instanceId: string, seen: Partial<InstanceObservation>): void;
  tell(observation: InstanceObservation): void;
}

/**
 * MigrationAgentService of a recorded agent. Hosts that share a world can move guests to one another; what that makes of a host is reported like
 * everything that happens there, as if the agent knew nothing of migrations: the control plane is not to be misled by it.
 */
export class RecordedMigrations {
  /** Shared by the hosts of a test. */
  world = new MigrationWorld();
  /** Called before each method is carried out, and with the method's name and "answered" after; what it throws is the answer. */
  onCall: (method: string) => unknown = () => undefined;
  readonly #agent: ReportingAgent;

  constructor(agent: ReportingAgent) {
    this.#agent = agent;
  }

  /** With the agent go its attempts, and what waited for a guest. */
  killed(): void {
    this.#takeHost();
    this.world.killAgent(this.#agent.nodeId);
    this.#showHost();
  }

  service(): GrpcService {
    const call = <Method extends keyof MigrationAgent>(method: Method) => {
      const carryOut = async (request: unknown) => {
        await this.onCall(method);
        this.#takeHost();
        const agent = this.world.agent(this.#agent.nodeId);
        const answer = await (agent[method] as (request: unknown) => unknown).call(agent, request);
        this.#showHost();
        await this.onCall(`${method} answered`);
        return answer;
      };
      return carryOut as unknown as MigrationAgent[Method];
    };
    return grpcService(MigrationAgentServiceDefinition, {
      describeSource: call("describeSource"),
      checkDestination: call("checkDestination"),
      beginSource: call("beginSource"),
      prepareDestination: call("prepareDestination"),
      finishDestination: call("finishDestination"),
      confirmSource: call("confirmSource"),
      inspectMigration: call("inspectMigration"),
      performSource: (request, { fleet }) => this.#perform(request, fleet.signal),
    });
  }

  async *#perform(request: Parameters<MigrationAgent["performSource"]>[0], signal: AbortSignal) {
    await this.onCall("performSource");
    this.#takeHost();
    for await (const frame of this.world.agent(this.#agent.nodeId).performSource(request, signal)) {
      this.#showHost();
      yield frame;
    }
    await this.onCall("performSource answered");
  }

  /** What became of the host's guests by other ways. */
  #takeHost(): void {
    const { nodeId, host } = this.#agent;
    for (const { instanceId, generation, state } of host.values()) {
      if (instanceId === "") continue;
      if (!this.world.at(nodeId, instanceId)) this.world.place(nodeId, instanceId, generation);
      const copy = this.world.at(nodeId, instanceId);
      if (copy && state !== SHOWN[copy.state]) copy.state = state === InstanceState.RUNNING ? "RUNNING" : "STOPPED";
    }
    const there = new Set([...host.values()].map(({ instanceId }) => instanceId));
    for (const copy of [...this.world.copies]) {
      if (copy.nodeId === nodeId && !there.has(copy.instanceId)) this.world.remove(nodeId, copy.instanceId);
    }
  }

  /** What became of it by a migration, and its report. */
  #showHost(): void {
    const { nodeId, host } = this.#agent;
    for (const copy of this.world.copies) {
      const { instanceId, generation, state } = copy;
      if (copy.nodeId !== nodeId) continue;
      const nativeId = `native-${instanceId}`;
      const known = host.get(nativeId);
      if (known?.state === SHOWN[state] && known.generation === generation) continue;
      host.set(nativeId, { nativeId, instanceId, generation, state: SHOWN[state] });
      this.#tell(instanceId, generation, SHOWN[state]);
    }
    for (const [nativeId, { instanceId, generation }] of [...host]) {
      if (instanceId === "" || this.world.at(nodeId, instanceId)) continue;
      host.delete(nativeId);
      if (this.#agent.knows(instanceId)) this.#agent.observe(instanceId, { state: InstanceState.ERROR, stateReason: "MISSING" });
      else this.#tell(instanceId, generation, InstanceState.DELETED);
    }
  }

  #tell(instanceId: string, generation: number, state: InstanceState): void {
    if (this.#agent.knows(instanceId)) {
      this.#agent.observe(instanceId, { state, stateReason: "CHANGED_OUTSIDE" });
      return;
    }
    const found = { type: InstanceType.VM, name: instanceId, cpuCores: 1, memoryBytes: 2 ** 28 };
    this.#agent.tell(
      InstanceObservation.fromPartial({
        nativeId: `native-${instanceId}`,
        instanceId,
        generation,
        state,
        made: true,
        settled: true,
        ...found,
      }),
    );
  }
}
