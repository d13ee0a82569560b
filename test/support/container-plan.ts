import type { InstancePlan } from "../../agent/drivers/instance-driver.ts";
import { type InstanceSpec, InstanceType, ResourceLimits } from "../../schema/generated/proto/hypervisor/v1/compute.ts";
import { instancePlan, MIB } from "./instance-plans.ts";

/** A container without a network that needs nothing but its image, but for what is said. */
export function containerPlan(spec: Parameters<typeof InstanceSpec.fromPartial>[0] = {}, more: Partial<InstancePlan> = {}): InstancePlan {
  const needed = { image: "localhost/busybox:latest", memoryBytes: 64 * MIB, network: { networkId: "none" } };
  return instancePlan({ ...needed, ...spec }, { type: InstanceType.CONTAINER, ...more });
}

/** Limits, none of them set, but for what is said. */
export function resourceLimits(limits: Partial<ResourceLimits>): ResourceLimits {
  return ResourceLimits.fromPartial(limits);
}
