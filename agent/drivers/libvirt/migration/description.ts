import { z } from "zod";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { InstanceSpec, InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";

/** "own": made by the agent for this instance; "seed": its cloud-init; "shared": anything else, which both hosts must see under one path. */
export type DiskKind = "own" | "seed" | "shared";

const disk = z.object({
  /** As in the guest's XML: vda. */
  target: z.string(),
  kind: z.enum(["own", "seed", "shared"]),
  path: z.string(),
  /** What the guest sees. */
  capacity: z.number(),
  /** What a flat copy takes at most. */
  copiedBytes: z.number(),
  /** What it stands on, the nearest first. */
  backing: z.array(z.object({ path: z.string(), bytes: z.number() })),
});

const bootFile = z.object({ path: z.string(), bytes: z.number(), sha256: z.string() });

const description = z.object({
  version: z.literal(1),
  name: z.string(),
  type: z.enum(InstanceType),
  spec: z.unknown(),
  nodeId: z.string(),
  arch: z.string(),
  /** libvirt's word: "kvm" or "qemu". */
  accelerator: z.string(),
  machine: z.string(),
  /** QEMU's and libvirt's own numbers. */
  qemuVersion: z.number(),
  /** <cpu> to be compared; empty where libvirt told none. */
  cpu: z.string(),
  networks: z.array(z.string()),
  disks: z.array(disk),
  kernel: bootFile.nullable(),
  initrd: bootFile.nullable(),
});

type Stored = z.infer<typeof description>;
export type DescribedDisk = Stored["disks"][number];
export type BootFile = z.infer<typeof bootFile>;

/** What a guest needs of a host, as its own host's agent says it to another's. */
export interface GuestDescription extends Omit<Stored, "spec"> {
  spec: InstanceSpec;
}

export function writeDescription(guest: GuestDescription): string {
  return JSON.stringify({ ...guest, spec: InstanceSpec.toJSON(guest.spec) });
}

/** Throws INVALID_ARGUMENT for what no agent of this version wrote. */
export function readDescription(text: string): GuestDescription {
  try {
    const read = description.parse(JSON.parse(text));
    return { ...read, spec: InstanceSpec.fromJSON(read.spec) };
  } catch (cause) {
    throw new FleetError("INVALID_ARGUMENT", "The description of the guest is not understood: are both agents of the same version?", {
      reason: "DescriptionNotUnderstood",
      details: { field: "description" },
      cause,
    });
  }
}

const destination = z.object({
  persistentXml: z.string(),
  domainXml: z.string(),
});

/** What the source's libvirt is told of the domain at the destination. */
export type DestinationDomain = z.infer<typeof destination>;

export function writeDestination(domain: DestinationDomain): string {
  return JSON.stringify(domain);
}

/** Throws INVALID_ARGUMENT. */
export function readDestination(text: string): DestinationDomain {
  try {
    return destination.parse(JSON.parse(text));
  } catch (cause) {
    throw new FleetError("INVALID_ARGUMENT", "What the destination answered is not understood: are both agents of the same version?", {
      reason: "DescriptionNotUnderstood",
      details: { field: "destination" },
      cause,
    });
  }
}
