import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { checkId, checkListLength, checkName, checkOneOf } from "../../../kit/input-checks.ts";
import { INSTANCE_TYPES, type InstanceType } from "../instance-types.ts";
import { checkImageRef, imageTypeOf } from "./image-ref.ts";
import { DISK_FORMATS, type DiskFormat, type ImageType } from "./image-types.ts";

/** What a face hands over: its shape is right, its values are not checked. Enums without prefix; null or undefined where not given. */
export interface RawImageFilter {
  nodeId?: string | null;
  type?: string | null;
  name?: string | null;
}

export interface RawPull {
  imageRef: string;
  type?: string | null;
  nodeIds?: readonly string[] | null;
  region?: string | null;
  zone?: string | null;
  checksum?: string | null;
  format?: string | null;
  name?: string | null;
  refresh?: boolean | null;
  clientRequestId?: string | null;
}

export interface RawDeletion {
  image: string;
  type?: string | null;
  nodeIds?: readonly string[] | null;
}

export interface ImageFilter {
  nodeId: string | null;
  type: ImageType | null;
  /** In lower case. */
  name: string | null;
}

/** What is to be brought to hosts. */
export interface PullSource {
  imageRef: string;
  type: ImageType;
  checksum: string | null;
  format: DiskFormat | null;
  name: string | null;
  refresh: boolean;
}

export interface PullOrder {
  source: PullSource;
  /** Empty: one is chosen, in the region and zone. */
  nodeIds: string[];
  region: string | null;
  zone: string | null;
  /** What the chosen node must be able to run. */
  instanceType: InstanceType;
  clientRequestId: string | null;
}

export interface ImageDeletion {
  image: string;
  type: ImageType | null;
  /** Empty: all that have it. */
  nodeIds: string[];
}

/** Nodes that one request may name. */
const MAX_NODES = 200;
const MAX_NAME = 253;
const MAX_IMAGE = 2_048;
const CHECKSUM = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;
/** As a file's name, which it may become on a host. */
const DISK_NAME = /^[A-Za-z0-9][\w.+-]{0,199}$/;

export function checkImageFilter(raw: RawImageFilter | null | undefined): ImageFilter {
  return {
    nodeId: checkName("filter.nodeId", raw?.nodeId),
    type: raw?.type ? imageType(checkOneOf("filter.type", raw.type, INSTANCE_TYPES)) : null,
    name: checkName("filter.name", raw?.name, MAX_NAME)?.toLowerCase() ?? null,
  };
}

export function checkPull(raw: RawPull): PullOrder {
  const instanceType = raw.type ? checkOneOf("type", raw.type, INSTANCE_TYPES) : imageTypeOf(raw.imageRef);
  const type = imageType(instanceType);
  if (type === "CONTAINER") refuseDiskParts(raw);
  const nodeIds = checkNodeIds(raw.nodeIds);
  const [region, zone] = [checkName("region", raw.region), checkName("zone", raw.zone)];
  if (nodeIds.length > 0 && (region ?? zone) !== null) {
    throw invalidArgument(region === null ? "zone" : "region", "Either nodes are named, or one is chosen in a region or a zone.");
  }
  return {
    source: {
      imageRef: checkImageRef("imageRef", raw.imageRef, type),
      type,
      checksum: checkChecksum(raw.checksum),
      format: raw.format ? checkOneOf("format", raw.format.toUpperCase(), DISK_FORMATS) : null,
      name: checkDiskName(raw.name),
      refresh: raw.refresh ?? false,
    },
    nodeIds,
    region,
    zone,
    instanceType,
    clientRequestId: checkName("clientRequestId", raw.clientRequestId),
  };
}

export function checkDeletion(raw: RawDeletion): ImageDeletion {
  const image = checkName("image", raw.image, MAX_IMAGE);
  if (image === null) throw invalidArgument("image", "An image is needed: its id, or one of its names.");
  return {
    image,
    type: raw.type ? imageType(checkOneOf("type", raw.type, INSTANCE_TYPES)) : null,
    nodeIds: checkNodeIds(raw.nodeIds),
  };
}

/** VMs and microVMs have the same images. */
function imageType(type: InstanceType): ImageType {
  return type === "CONTAINER" ? "CONTAINER" : "VM";
}

function refuseDiskParts({ checksum, format, name }: RawPull): void {
  for (const [field, value] of Object.entries({ checksum, format, name })) {
    if (value) throw invalidArgument(field, "Only for disk images; a container image says all that in its reference.");
  }
}

function checkNodeIds(raw: readonly string[] | null | undefined): string[] {
  const nodeIds = [...new Set(raw ?? [])];
  checkListLength("nodeIds", nodeIds, MAX_NODES);
  for (const nodeId of nodeIds) checkId("nodeIds", nodeId);
  return nodeIds;
}

function checkChecksum(raw: string | null | undefined): string | null {
  if (!raw) return null;
  const checksum = raw.toLowerCase();
  if (!CHECKSUM.test(checksum)) {
    throw invalidArgument("checksum", "A checksum is sha256: with 64 hexadecimal digits, or sha512: with 128.");
  }
  return checksum;
}

function checkDiskName(raw: string | null | undefined): string | null {
  if (!raw) return null;
  if (!DISK_NAME.test(raw)) {
    throw invalidArgument("name", "A name has up to 200 letters, digits, '.', '_', '+' and '-', and begins with a letter or a digit.");
  }
  return raw;
}
