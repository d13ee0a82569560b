import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import { checkId, checkName, checkOneOf } from "../../../kit/input-checks.ts";
import { checkPoolName, checkVolumeName } from "../spec-devices-input.ts";
import { checkDiskSize } from "../spec-input.ts";
import { VOLUME_FORMATS, type VolumeFormat } from "./storage-types.ts";

/** What a face hands over: its shape is right, its values are not checked. Null, undefined and "" are not given. */
export interface RawPool {
  nodeId: string;
  name: string;
  kind: string;
  path?: string | null;
  source?: string | null;
}

export interface RawVolumeName {
  nodeId: string;
  pool: string;
  name: string;
}

export interface RawVolume extends RawVolumeName {
  format?: string | null;
  capacityBytes?: number | null;
  image?: string | null;
}

const MAX_PATH = 1_024;
/** `server:/export`; an IPv6 address in brackets. */
const NETFS_SOURCE = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9.-]*):\/\S*$/;

export function checkPool(raw: RawPool) {
  const kind = checkOneOf("kind", raw.kind, ["DIR", "NETFS"] as const);
  const path = checkName("path", raw.path, MAX_PATH);
  if (path !== null && (!path.startsWith("/") || path.split("/").includes(".."))) {
    throw invalidArgument("path", "An absolute path without '..' is needed.");
  }
  if (path === null && kind === "DIR") throw invalidArgument("path", "A DIR pool needs the path of its directory.");
  const source = checkName("source", raw.source, MAX_PATH);
  if (kind === "DIR" && source !== null) throw invalidArgument("source", "Only a NETFS pool has a source.");
  if (kind === "NETFS" && (source === null || !NETFS_SOURCE.test(source))) {
    throw invalidArgument("source", "A NETFS pool needs what is mounted, such as server:/export.");
  }
  return { nodeId: checkId("nodeId", raw.nodeId), name: checkPoolName("name", raw.name), kind, path: path ?? "", source: source ?? "" };
}

export function checkVolumeOf({ nodeId, pool, name }: RawVolumeName): RawVolumeName {
  return { nodeId: checkId("nodeId", nodeId), pool: checkPoolName("pool", pool), name: checkVolumeName("name", name) };
}

/** One that begins with an image may leave its size to it. */
export function checkVolume(raw: RawVolume) {
  const image = checkName("image", raw.image, MAX_PATH);
  if (image === null && !raw.capacityBytes)
    throw invalidArgument("capacityBytes", "A size is needed: only a volume with an image has its size.");
  const format: VolumeFormat = checkOneOf("format", raw.format ?? "QCOW2", VOLUME_FORMATS);
  const capacityBytes = raw.capacityBytes ? checkDiskSize("capacityBytes", raw.capacityBytes) : 0;
  return { ...checkVolumeOf(raw), format, capacityBytes, image: image ?? "" };
}
