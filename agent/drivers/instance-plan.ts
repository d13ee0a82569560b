import type { InstanceSpec, InstanceType } from "../../schema/generated/proto/hypervisor/v1/compute.ts";

/** An instance that the agent makes and keeps: all that a driver needs to know to build it. */
export interface InstancePlan {
  instanceId: string;
  nodeId: string;
  generation: number;
  /** As its owner calls it; not unique. */
  name: string;
  type: InstanceType;
  spec: InstanceSpec;
  labels: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
}

/** An instance by its id, or what is on the host by its own. */
export type Ref = { instanceId: string } | { nativeId: string };
