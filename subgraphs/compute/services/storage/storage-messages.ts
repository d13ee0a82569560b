import { ImageFormat } from "../../../../schema/generated/proto/hypervisor/v1/images.ts";
import { type NodePool, type NodeVolume, PoolKind as ProtoKind } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { PoolKind, PoolView, VolumeFormat, VolumeView } from "./storage-types.ts";

const KINDS: Partial<Record<ProtoKind, PoolKind>> = { [ProtoKind.DIR]: "DIR", [ProtoKind.NETFS]: "NETFS" };
const FORMATS: Partial<Record<ImageFormat, VolumeFormat>> = {
  [ImageFormat.QCOW2]: "QCOW2",
  [ImageFormat.RAW]: "RAW",
};

export const PROTO_KINDS: Record<Exclude<PoolKind, "OTHER">, ProtoKind> = {
  DIR: ProtoKind.DIR,
  NETFS: ProtoKind.NETFS,
};
export const PROTO_FORMATS: Record<VolumeFormat, ImageFormat> = {
  QCOW2: ImageFormat.QCOW2,
  RAW: ImageFormat.RAW,
};

export function poolView(nodeId: string, { kind, path, source, message, ...pool }: NodePool): PoolView {
  return { ...pool, nodeId, kind: KINDS[kind] ?? "OTHER", path: path || null, source: source || null, message: message || null };
}

export function volumeView(nodeId: string, { format, path, modifiedAt, ...volume }: NodeVolume): VolumeView {
  return { ...volume, nodeId, format: FORMATS[format] ?? null, path: path || null, modifiedAt: modifiedAt ?? null };
}
