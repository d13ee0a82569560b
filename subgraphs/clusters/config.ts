import { DEFAULT_HEALTH_CHECK_CONFIG, type HealthCheckConfig } from "./services/kubernetes/health/health-checks.ts";
import type { Resources } from "./services/node-types.ts";

/** What the clusters subgraph can be told. Durations in milliseconds, measured by the monotonic clock of this process. */
export interface ClustersConfig {
  /** Shown by clusterInfo. */
  clusterName: string;
  /** What agents are told; whole seconds. */
  heartbeatIntervalSeconds: number;
  /** A node that was not heard of for this long is UNKNOWN; whole seconds. */
  leaseTtlSeconds: number;
  /** How often leases are judged. */
  sweepIntervalMs: number;
  /** How often what heartbeats told is written, and what other replicas heard is read. At most a quarter of the lease. */
  livenessIntervalMs: number;
  /** An own pause longer than this gives every node a full lease. */
  pauseMs: number;
  allocation: AllocationPolicy;
  /** How Kubernetes clusters are checked. */
  kubernetes: HealthCheckConfig;
}

/** allocatable = capacity × overcommit − reserve, never below 0. Disk and GPUs are not overcommitted. */
export interface AllocationPolicy {
  cpuOvercommit: number;
  memoryOvercommit: number;
  /** What every host keeps for itself. */
  reserve: Resources;
}

export const DEFAULT_CLUSTERS_CONFIG: ClustersConfig = {
  clusterName: "fleetgraph",
  heartbeatIntervalSeconds: 10,
  leaseTtlSeconds: 30,
  sweepIntervalMs: 1_000,
  livenessIntervalMs: 5_000,
  pauseMs: 5_000,
  allocation: {
    cpuOvercommit: 4,
    memoryOvercommit: 1,
    reserve: { cpuCores: 0, memoryBytes: 1_073_741_824, diskBytes: 0, gpuCount: 0 },
  },
  kubernetes: DEFAULT_HEALTH_CHECK_CONFIG,
};
