import type { FleetError } from "../../../../platform/errors/fleet-error.ts";

/** VM: a disk image, for VMs and microVMs. */
export const IMAGE_TYPES = ["VM", "CONTAINER"] as const;
export type ImageType = (typeof IMAGE_TYPES)[number];

export const IMAGE_FORMATS = ["QCOW2", "RAW", "OCI"] as const;
export type ImageFormat = (typeof IMAGE_FORMATS)[number];

/** The formats that a disk image may be declared to have. */
export const DISK_FORMATS = ["QCOW2", "RAW"] as const;
export type DiskFormat = (typeof DISK_FORMATS)[number];

/** An image as one host has it. */
export interface ImageOnNode {
  nodeId: string;
  /** What it takes on the host's disk, in bytes. */
  sizeBytes: number;
  pulledAt: Date | null;
  lastUsedAt: Date | null;
  inUse: boolean;
  /** False: put there by hand, or by the host's own tools. */
  managed: boolean;
}

/** An image with all hosts that have it. */
export interface ImageView {
  id: string;
  /** The first of its names, or its id: what the list is ordered by. */
  name: string;
  names: string[];
  type: ImageType;
  format: ImageFormat | null;
  architecture: string | null;
  /** The largest of what it takes on its hosts. */
  sizeBytes: number;
  /** What a guest sees of a disk image. */
  virtualSizeBytes: number | null;
  createdAt: Date | null;
  nodes: ImageOnNode[];
}

/** A node, or a part of it, whose images are not known now. */
export interface UnavailableNode {
  nodeId: string;
  /** UNAVAILABLE with an AgentRefusal as reason, or DriverUnavailable where only a part of it could not be asked. */
  why: FleetError;
}
