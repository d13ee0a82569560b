import type { Resources } from "../../../schema/generated/proto/hypervisor/v1/common.ts";

/** What an instance asks of its host. */
export interface PlacementRequest {
  /** "vm", "container" or "microvm". */
  type: string;
  cpuCores: number;
  memoryBytes: number;
  /** The virtual sizes of its disks. */
  diskBytes: number;
  gpuCount: number;
  /** Taken where it fits, before all others. Null: none. */
  preferredNodeId: string | null;
  /** Empty: anywhere. */
  region: string;
  zone: string;
  /** All of them have to be there. */
  nodeLabels: ReadonlyArray<readonly [key: string, value: string]>;
  /** Nodes that hold an instance which this one must not be together with. */
  avoid: ReadonlySet<string>;
  strategy: "spread" | "pack";
}

/** A node as placement sees it. */
export interface PlacementNode {
  nodeId: string;
  hostname: string;
  /** Its agent is heard of and says that it is well. */
  ready: boolean;
  maintenance: boolean;
  simulated: boolean;
  worker: boolean;
  region: string;
  zone: string;
  labels: Readonly<Record<string, string>>;
  supportedTypes: readonly string[];
  allocatable: Resources;
  /** What the control plane has promised there. */
  reserved: Resources;
}
