import type { Resources } from "../../../schema/generated/proto/hypervisor/v1/common.ts";

/** Names as both faces show them: the seed's enums without prefix; UNSPECIFIED is null. */
export const INSTANCE_TYPES = ["VM", "CONTAINER", "MICROVM"] as const;
export type InstanceType = (typeof INSTANCE_TYPES)[number];

export const INSTANCE_STATES = [
  "CREATING",
  "RUNNING",
  "STOPPED",
  "STOPPING",
  "STARTING",
  "RESTARTING",
  "ERROR",
  "DELETED",
  "SUSPENDED",
] as const;
export type InstanceState = (typeof INSTANCE_STATES)[number];

export const DESIRED_STATES = ["RUNNING", "STOPPED", "SUSPENDED", "DELETED"] as const;
export type DesiredState = (typeof DESIRED_STATES)[number];

export const FIRMWARES = ["BIOS", "UEFI"] as const;
export type Firmware = (typeof FIRMWARES)[number];

export const DISK_TYPES = ["ssd", "hdd"] as const;
export type DiskType = (typeof DISK_TYPES)[number];

export const PLACEMENT_STRATEGIES = ["SPREAD", "PACK"] as const;
export type PlacementStrategy = (typeof PLACEMENT_STRATEGIES)[number];

export type StringMap = Record<string, string>;

export type DiskSpec = {
  name: string;
  /** The virtual size; 0: that of its image. */
  sizeBytes: number;
  /** Null: the host's default. */
  type: DiskType | null;
  boot: boolean;
};

export type NetworkSpec = {
  networkId: string;
  subnetId: string | null;
  securityGroups: string[];
  assignPublicIp: boolean;
};

/** A volume of a storage pool, as a disk of an instance. Its life is its own. */
export type AttachedVolume = { name: string; pool: string; volume: string; readOnly: boolean };

/** A network interface beside the first one. */
export type InterfaceSpec = { name: string; network: NetworkSpec };

export type VolumeMount = { name: string; mountPath: string; readOnly: boolean };

/** 0: no limit. */
export type ResourceLimits = {
  cpuQuota: number;
  cpuPeriod: number;
  memoryLimit: number;
  memorySwap: number;
  ioReadBps: number;
  ioWriteBps: number;
};

/** What an instance is made of, as everybody may see it; see InstanceSecrets for the rest. */
export type InstanceSpec = {
  image: string | null;
  cpuCores: number;
  memoryBytes: number;
  disks: DiskSpec[];
  network: NetworkSpec;
  kernel: string | null;
  initrd: string | null;
  kernelArgs: string | null;
  command: string[];
  args: string[];
  volumeMounts: VolumeMount[];
  volumes: AttachedVolume[];
  interfaces: InterfaceSpec[];
  limits: ResourceLimits | null;
  firmware: Firmware;
  /** Null: no first-boot configuration. */
  cloudInit: { sshAuthorizedKeys: string[] } | null;
};

/** The parts of a spec that often hold passwords: for operators and the instance's own agent, in no event and no log. */
export type InstanceSecrets = { env: StringMap; userData: string | null };

/** What an instance holds of its host, running or not. Disks count their virtual size. */
export function resourcesOf(spec: Pick<InstanceSpec, "cpuCores" | "memoryBytes" | "disks">): Resources {
  const diskBytes = spec.disks.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return { cpuCores: spec.cpuCores, memoryBytes: spec.memoryBytes, diskBytes, gpuCount: 0 };
}

/** An instance as GraphQL, gRPC and the event log show it: JSON primitives only, times in ISO 8601. */
export type InstanceView = {
  id: string;
  name: string;
  type: InstanceType;
  state: InstanceState;
  /** Null: it is not managed. */
  desiredState: DesiredState | null;
  stateReason: string | null;
  errorMessage: string | null;
  activity: string | null;
  managed: boolean;
  nodeId: string;
  generation: number;
  ipAddresses: string[];
  startedAt: string | null;
  exitCode: number | null;
  nativeId: string | null;
  spec: InstanceSpec;
  labels: StringMap;
  annotations: StringMap;
  createdAt: string;
  updatedAt: string;
  deletedAt: string | null;
};

export interface InstanceFilter {
  /** Empty: all. */
  ids: readonly string[];
  type: InstanceType | null;
  state: InstanceState | null;
  nodeId: string | null;
  /** A part of the name, in lower case. */
  name: string | null;
  labels: ReadonlyArray<readonly [key: string, value: string]>;
  managed: boolean | null;
  includeDeleted: boolean;
}

/** What is asked for when an instance is made. */
export interface Creation {
  name: string;
  type: InstanceType;
  spec: InstanceSpec;
  secrets: InstanceSecrets;
  labels: StringMap;
  annotations: StringMap;
  preferredNodeId: string | null;
  region: string | null;
  zone: string | null;
  nodeLabels: StringMap;
  antiAffinityLabel: string | null;
  /** Null: as configured. */
  strategy: PlacementStrategy | null;
  stopped: boolean;
  clientRequestId: string | null;
}

/** Undefined leaves as it is. */
export interface Resize {
  cpuCores: number | undefined;
  memoryBytes: number | undefined;
  disks: Array<{ name: string; sizeBytes: number }>;
}

/** The stream of the event log that instance events are in. */
export const INSTANCE_STREAM = "instances";
