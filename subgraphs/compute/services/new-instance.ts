import { newId } from "../../kit/ids.ts";
import type { EntityManager } from "../../kit/store/orm.ts";
import { Instance } from "../entities/instance.ts";
import { type Creation, type InstanceSpec, type InstanceState, type InstanceType, resourcesOf } from "./instance-types.ts";
import { REQUESTED } from "./state-machine.ts";

/** One of ours, placed on a node; its agent has still to be told. */
export function newInstance(em: EntityManager, creation: Creation, nodeId: string): Instance {
  const { name, type, spec, secrets, labels, annotations, stopped, clientRequestId } = creation;
  return em.create(Instance, {
    ...blank(name, type, spec),
    id: newId("inst"),
    state: "CREATING",
    desiredState: stopped ? "STOPPED" : "RUNNING",
    stateReason: REQUESTED,
    managed: true,
    nodeId,
    generation: 1,
    revision: 1,
    secrets,
    labels,
    annotations,
    clientRequestId,
    ...resourcesOf(spec),
  });
}

/** What a host tells of one that was found there. */
export interface FoundInstance {
  name: string;
  type: InstanceType;
  state: InstanceState;
  nativeId: string;
  cpuCores: number;
  memoryBytes: number;
}

/** One that was found on a host. `id`: of its mark, where an agent left one that this database has never heard of. */
export function foundInstance(em: EntityManager, nodeId: string, found: FoundInstance, id: string | null): Instance {
  const { name, type, state, nativeId } = found;
  return em.create(Instance, {
    ...blank(name, type, foundSpec(found)),
    id: id ?? newId("inst"),
    state,
    desiredState: null,
    stateReason: null,
    made: true,
    managed: false,
    nodeId,
    nativeId,
    generation: 0,
    revision: 0,
    secrets: { env: {}, userData: null },
    labels: {},
    annotations: {},
    clientRequestId: null,
    cpuCores: 0,
    memoryBytes: 0,
    diskBytes: 0,
    gpuCount: 0,
  });
}

/** Of what others made, only its size is known. */
export function foundSpec({ cpuCores, memoryBytes }: Pick<FoundInstance, "cpuCores" | "memoryBytes">): InstanceSpec {
  return {
    image: null,
    cpuCores,
    memoryBytes,
    disks: [],
    network: { networkId: "", subnetId: null, securityGroups: [], assignPublicIp: false },
    kernel: null,
    initrd: null,
    kernelArgs: null,
    command: [],
    args: [],
    volumeMounts: [],
    volumes: [],
    interfaces: [],
    limits: null,
    firmware: "BIOS",
    cloudInit: null,
  };
}

/** What starts the same for all. */
function blank(name: string, type: InstanceType, spec: InstanceSpec) {
  const now = new Date();
  return {
    name,
    nameFolded: name.toLowerCase(),
    type,
    spec,
    errorMessage: null,
    activity: null,
    made: false,
    highestGeneration: 0,
    appliedRevision: 0,
    restarts: 0,
    force: false,
    stopTimeoutSeconds: 0,
    suspendToDisk: false,
    nativeId: null,
    adoptNativeId: null,
    ipAddresses: [],
    startedAt: null,
    exitCode: null,
    createdAt: now,
    updatedAt: now,
    deletedAt: null,
  };
}
