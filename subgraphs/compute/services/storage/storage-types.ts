/** Names as GraphQL shows them. */
export const POOL_KINDS = ["DIR", "NETFS", "OTHER"] as const;
export type PoolKind = (typeof POOL_KINDS)[number];

export const VOLUME_FORMATS = ["QCOW2", "RAW"] as const;
export type VolumeFormat = (typeof VOLUME_FORMATS)[number];

/** A storage pool as its host tells it. */
export interface PoolView {
  nodeId: string;
  name: string;
  kind: PoolKind;
  nativeKind: string;
  path: string | null;
  source: string | null;
  active: boolean;
  capacityBytes: number;
  availableBytes: number;
  allocatedBytes: number;
  managed: boolean;
  system: boolean;
  message: string | null;
}

/** A volume as its host tells it. */
export interface VolumeView {
  nodeId: string;
  pool: string;
  name: string;
  path: string | null;
  /** Null: another one. */
  format: VolumeFormat | null;
  capacityBytes: number;
  allocatedBytes: number;
  managed: boolean;
  /** Ids of instances; native names of those that are not managed. */
  usedBy: string[];
  modifiedAt: Date | null;
}
