import { NodeKind, NodeRole } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { NodeCondition, Resources } from "../../schema/generated/proto/hypervisor/v1/common.ts";

const GIB = 2 ** 30;
const SIZES = [
  { cpuCores: 16, memoryGib: 64, diskGib: 960, gpuCount: 0 },
  { cpuCores: 64, memoryGib: 512, diskGib: 3840, gpuCount: 0 },
  { cpuCores: 128, memoryGib: 1024, diskGib: 7680, gpuCount: 8 },
] as const;
const REGIONS = ["eu-central", "eu-west", "us-east"];
const ZONES = ["a", "b", "c"];
/** A simulated host takes no calls; some port has to be named. */
const DISCARD_PORT = 9;

/** A host that is not there: what it is depends on its number alone, so that it is the same at every start. */
export class SimulatedHost {
  readonly hostname: string;
  readonly #number: number;
  readonly #conditions: NodeCondition[];

  constructor(prefix: string, number: number) {
    this.hostname = `${prefix}-${String(number).padStart(5, "0")}`;
    this.#number = number;
    const since = new Date();
    const condition = (type: string, status: string, reason: string) => ({ type, status, reason, message: "", lastTransitionTime: since });
    this.#conditions = [
      condition("Ready", "True", "Simulated"),
      condition("DiskPressure", "False", "Simulated"),
      condition("MemoryPressure", "False", "Simulated"),
      condition("NetworkUnavailable", "False", "Simulated"),
    ];
  }

  /** What it registers with, but for its id. */
  description() {
    return {
      hostname: this.hostname,
      ip: `198.18.${(this.#number >> 8) & 255}.${this.#number & 255}`,
      port: DISCARD_PORT,
      role: NodeRole.WORKER,
      kind: NodeKind.COMPUTE,
      region: this.#pick(REGIONS),
      zone: this.#pick(ZONES),
      capacity: this.#capacity(),
      supportedInstanceTypes: ["vm", "container"],
      metadata: undefined,
      simulated: true,
      clientRequestId: "",
      uri: "",
      machineId: "",
      agentId: "",
    };
  }

  conditions(): NodeCondition[] {
    return this.#conditions;
  }

  /** Nothing runs on a host that is not there. */
  allocated(): Resources {
    return { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 };
  }

  #capacity(): Resources {
    const { cpuCores, memoryGib, diskGib, gpuCount } = this.#pick(SIZES);
    return { cpuCores, memoryBytes: memoryGib * GIB, diskBytes: diskGib * GIB, gpuCount };
  }

  #pick<T>(choices: readonly T[]): T {
    return choices[this.#number % choices.length] as T;
  }
}
