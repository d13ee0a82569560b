import type { AllocationPolicy } from "../config.ts";
import type { Resources } from "./node-types.ts";

/** What of a capacity may be handed out: capacity × overcommit − reserve, whole numbers, never below 0. */
export function allocatableOf(capacity: Resources, policy: AllocationPolicy): Resources {
  const { reserve } = policy;
  const left = (value: number, reserved: number) => Math.max(0, Math.floor(value) - reserved);
  return {
    cpuCores: left(capacity.cpuCores * policy.cpuOvercommit, reserve.cpuCores),
    memoryBytes: left(capacity.memoryBytes * policy.memoryOvercommit, reserve.memoryBytes),
    diskBytes: left(capacity.diskBytes, reserve.diskBytes),
    gpuCount: left(capacity.gpuCount, reserve.gpuCount),
  };
}
