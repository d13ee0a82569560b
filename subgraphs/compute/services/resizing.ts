import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";
import type { Resources } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import { type NodeRecord, refusal } from "../../kit/agents/node-record.ts";
import type { EntityManager } from "../../kit/store/orm.ts";
import type { Instance } from "../entities/instance.ts";
import { type InstanceSpec, type Resize, resourcesOf } from "./instance-types.ts";
import { noNodeFits } from "./placements.ts";
import { reserve } from "./reservations.ts";

/** The new spec, with the difference taken of the node or given back to it. */
export async function takeResize(
  em: EntityManager,
  instance: Instance,
  resize: Resize,
  node: NodeRecord | undefined,
): Promise<InstanceSpec> {
  const spec = resizedSpec(instance.spec, resize);
  const amount = difference(resourcesOf(spec), resourcesOf(instance.spec));
  if (node === undefined) throw refusal("NodeOffline", "The instance's node is not in the fleet.", { nodeId: instance.nodeId });
  if (!(await reserve(em, instance.nodeId, amount, node.allocatable))) {
    const { nodeId, hostname } = node;
    throw noNodeFits([{ nodeId, hostname, reason: tightest(amount), message: "The instance's own node has not that much more." }]);
  }
  return spec;
}

function resizedSpec(spec: InstanceSpec, { cpuCores, memoryBytes, disks }: Resize): InstanceSpec {
  const known = new Set(spec.disks.map(({ name }) => name));
  for (const [index, { name }] of disks.entries()) {
    if (!known.has(name)) throw invalidArgument(`disks[${index}].name`, `The instance has no disk ${JSON.stringify(name.slice(0, 64))}.`);
  }
  const sizes = new Map(disks.map(({ name, sizeBytes }, index) => [name, { sizeBytes, index }]));
  return {
    ...spec,
    cpuCores: cpuCores ?? spec.cpuCores,
    memoryBytes: memoryBytes ?? spec.memoryBytes,
    disks: spec.disks.map((disk) => {
      const asked = sizes.get(disk.name);
      if (asked === undefined) return disk;
      if (asked.sizeBytes < disk.sizeBytes) throw diskShrink(`disks[${asked.index}].sizeBytes`, disk.sizeBytes);
      return { ...disk, sizeBytes: asked.sizeBytes };
    }),
  };
}

function difference(after: Resources, before: Resources): Resources {
  return {
    cpuCores: after.cpuCores - before.cpuCores,
    memoryBytes: after.memoryBytes - before.memoryBytes,
    diskBytes: after.diskBytes - before.diskBytes,
    gpuCount: 0,
  };
}

/** The database only says that one of them does not fit; where just one grows, it is that one. */
function tightest(amount: Resources): "InsufficientCpu" | "InsufficientMemory" | "InsufficientDisk" {
  if (amount.memoryBytes <= 0 && amount.diskBytes <= 0) return "InsufficientCpu";
  return amount.diskBytes > 0 && amount.memoryBytes <= 0 ? "InsufficientDisk" : "InsufficientMemory";
}

function diskShrink(field: string, sizeBytes: number): FleetError {
  return new FleetError("FAILED_PRECONDITION", "A disk only grows.", { reason: "DiskShrink", details: { field, sizeBytes } });
}
