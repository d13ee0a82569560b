import { Field, ID, ObjectType, registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { DateTime, Int64 } from "../../../kit/graphql/scalars.ts";
import { POOL_KINDS, type PoolKind, VOLUME_FORMATS, type VolumeFormat } from "../../services/storage/storage-types.ts";

export const PoolKindEnum = enumOf(POOL_KINDS);
registerEnumType(PoolKindEnum, {
  name: "StoragePoolKind",
  valuesConfig: {
    DIR: { description: "A directory of the host." },
    NETFS: { description: "NFS." },
    OTHER: { description: "Seen on the host, and not made by us: see nativeKind." },
  },
});

export const VolumeFormatEnum = enumOf(VOLUME_FORMATS);
registerEnumType(VolumeFormatEnum, { name: "VolumeFormat", description: "How a volume is kept." });

/** `volumes` is resolved: see node-storage.ts. */
@ObjectType("StoragePool", { description: "Where a host keeps volumes.", simpleResolvers: true })
export class StoragePoolObject {
  @Field(() => ID, { description: "Of its node." })
  nodeId!: string;

  @Field(() => String, { description: "Unique on its node." })
  name!: string;

  @Field(() => PoolKindEnum)
  kind!: PoolKind;

  @Field(() => String, { description: "As the host's own software calls the kind." })
  nativeKind!: string;

  @Field(() => String, { nullable: true })
  path!: string | null;

  @Field(() => String, { nullable: true, description: 'NETFS: what is mounted, "server:/export".' })
  source!: string | null;

  @Field(() => Boolean, { description: "Whether its volumes can be used now." })
  active!: boolean;

  @Field(() => Int64)
  capacityBytes!: number;

  @Field(() => Int64)
  availableBytes!: number;

  @Field(() => Int64)
  allocatedBytes!: number;

  @Field(() => Boolean, { description: "Made by us, so that it may be deleted." })
  managed!: boolean;

  @Field(() => Boolean, { description: "The agent's own, for images and instances." })
  system!: boolean;

  @Field(() => String, { nullable: true, description: "Why it is not active, where that is known." })
  message!: string | null;
}

/** `instances` is resolved: see node-storage.ts. */
@ObjectType("Volume", { description: "A volume of a storage pool. Its life is its own, whoever has it attached.", simpleResolvers: true })
export class VolumeObject {
  @Field(() => ID, { description: "Of its node." })
  nodeId!: string;

  @Field(() => String)
  pool!: string;

  @Field(() => String, { description: "Unique in its pool." })
  name!: string;

  @Field(() => String, { nullable: true })
  path!: string | null;

  @Field(() => VolumeFormatEnum, { nullable: true, description: "Null: another one." })
  format!: VolumeFormat | null;

  @Field(() => Int64, { description: "What a guest sees, in bytes." })
  capacityBytes!: number;

  @Field(() => Int64, { description: "What it takes of its pool, in bytes." })
  allocatedBytes!: number;

  @Field(() => Boolean, { description: "Made by us, so that it may be changed and deleted." })
  managed!: boolean;

  @Field(() => [String], { description: "Ids of instances that have it; native names of those that are not managed." })
  usedBy!: string[];

  @Field(() => DateTime, { nullable: true, description: "By its host's clock." })
  modifiedAt!: Date | null;
}
