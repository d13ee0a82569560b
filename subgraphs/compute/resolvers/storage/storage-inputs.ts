import { Field, ID, InputType } from "type-graphql";
import { Int64 } from "../../../kit/graphql/scalars.ts";
import type { PoolKind, VolumeFormat } from "../../services/storage/storage-types.ts";
import { PoolKindEnum, VolumeFormatEnum } from "./storage-types.ts";

@InputType("CreateStoragePoolInput")
export class CreateStoragePoolInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String, { description: "1–63 letters, digits, '-' and '_'; not fleetgraph-…" })
  name!: string;

  @Field(() => PoolKindEnum, { description: "DIR or NETFS." })
  kind!: PoolKind;

  @Field(() => String, {
    nullable: true,
    description: "DIR: an absolute path below a folder that the host's configuration allows. NETFS: where it is mounted; left out: chosen.",
  })
  path?: string | null;

  @Field(() => String, { nullable: true, description: 'NETFS: "server:/export".' })
  source?: string | null;
}

@InputType("DeleteStoragePoolInput")
export class DeleteStoragePoolInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String)
  name!: string;

  @Field(() => Boolean, { nullable: true, description: "Its volumes are removed, too; otherwise it is refused while it has some." })
  withVolumes?: boolean | null;
}

@InputType("CreateVolumeInput")
export class CreateVolumeInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String)
  pool!: string;

  @Field(() => String, { description: "1–100 letters, digits, '-', '_' and single dots." })
  name!: string;

  @Field(() => VolumeFormatEnum, { nullable: true, description: "QCOW2 where left out." })
  format?: VolumeFormat | null;

  @Field(() => Int64, { nullable: true, description: "In bytes, from 1 MiB. Left out, one with an image has its size." })
  capacityBytes?: number | null;

  @Field(() => String, { nullable: true, description: "An image of the host that it begins with; left out: it begins empty." })
  image?: string | null;
}

@InputType("ResizeVolumeInput")
export class ResizeVolumeInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String)
  pool!: string;

  @Field(() => String)
  name!: string;

  @Field(() => Int64, { description: "In bytes; a volume only grows." })
  capacityBytes!: number;
}

@InputType("DeleteVolumeInput")
export class DeleteVolumeInput {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String)
  pool!: string;

  @Field(() => String)
  name!: string;
}
