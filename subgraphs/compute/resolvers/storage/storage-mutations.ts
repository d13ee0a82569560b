import { Arg, Ctx, Field, ID, Mutation, ObjectType, Resolver } from "type-graphql";
import type { ComputeContext } from "../compute-context.ts";
import {
  CreateStoragePoolInput,
  CreateVolumeInput,
  DeleteStoragePoolInput,
  DeleteVolumeInput,
  ResizeVolumeInput,
} from "./storage-inputs.ts";
import { StoragePoolObject, VolumeObject } from "./storage-types.ts";

@ObjectType("CreateStoragePoolPayload", { simpleResolvers: true })
class CreateStoragePoolPayload {
  @Field(() => StoragePoolObject)
  pool!: StoragePoolObject;
}

@ObjectType("DeleteStoragePoolPayload", { simpleResolvers: true })
class DeleteStoragePoolPayload {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String)
  name!: string;
}

@ObjectType("CreateVolumePayload", { simpleResolvers: true })
class CreateVolumePayload {
  @Field(() => VolumeObject)
  volume!: VolumeObject;
}

@ObjectType("ResizeVolumePayload", { simpleResolvers: true })
class ResizeVolumePayload {
  @Field(() => VolumeObject)
  volume!: VolumeObject;
}

@ObjectType("DeleteVolumePayload", { simpleResolvers: true })
class DeleteVolumePayload {
  @Field(() => ID)
  nodeId!: string;

  @Field(() => String)
  pool!: string;

  @Field(() => String)
  name!: string;
}

/** Carried out by the node's agent before they answer; each may be repeated. */
@Resolver(() => StoragePoolObject)
export class StorageMutationsResolver {
  @Mutation(() => CreateStoragePoolPayload, {
    description: "Does nothing where the pool is there as asked for; ALREADY_EXISTS where it is there differently. Rights: admin.",
  })
  async createStoragePool(
    @Arg("input", () => CreateStoragePoolInput) input: CreateStoragePoolInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<CreateStoragePoolPayload> {
    return { pool: await services.storageRequests.createPool(request, input) };
  }

  @Mutation(() => DeleteStoragePoolPayload, {
    description: "Its directory stays. FAILED_PRECONDITION: PoolInUse, PoolNotEmpty, PoolNotManaged. Rights: admin.",
  })
  async deleteStoragePool(
    @Arg("input", () => DeleteStoragePoolInput) input: DeleteStoragePoolInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<DeleteStoragePoolPayload> {
    await services.storageRequests.deletePool(request, input);
    return { nodeId: input.nodeId, name: input.name };
  }

  @Mutation(() => CreateVolumePayload, {
    description: "Does nothing where the volume is there as asked for; ALREADY_EXISTS where it is there differently. Rights: operator.",
  })
  async createVolume(
    @Arg("input", () => CreateVolumeInput) input: CreateVolumeInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<CreateVolumePayload> {
    return { volume: await services.storageRequests.createVolume(request, input) };
  }

  @Mutation(() => ResizeVolumePayload, {
    description: "Also while a running instance has it. FAILED_PRECONDITION: VolumeShrink. Rights: operator.",
  })
  async resizeVolume(
    @Arg("input", () => ResizeVolumeInput) input: ResizeVolumeInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<ResizeVolumePayload> {
    return { volume: await services.storageRequests.resizeVolume(request, input) };
  }

  @Mutation(() => DeleteVolumePayload, { description: "FAILED_PRECONDITION: VolumeInUse, VolumeNotManaged. Rights: operator." })
  async deleteVolume(
    @Arg("input", () => DeleteVolumeInput) input: DeleteVolumeInput,
    @Ctx() { request, services }: ComputeContext,
  ): Promise<DeleteVolumePayload> {
    await services.storageRequests.deleteVolume(request, input);
    return { nodeId: input.nodeId, pool: input.pool, name: input.name };
  }
}
