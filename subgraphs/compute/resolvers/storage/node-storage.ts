import { Ctx, FieldResolver, Resolver, Root } from "type-graphql";
import type { ComputeContext } from "../compute-context.ts";
import { InstanceObject, toInstanceObject } from "../instance-type.ts";
import { NodeStub } from "../node-stub.ts";
import { StoragePoolObject, VolumeObject } from "./storage-types.ts";

@Resolver(() => NodeStub)
class NodeStorageResolver {
  @FieldResolver(() => [StoragePoolObject], {
    nullable: true,
    description:
      "By name, read from its host for this request; null, with an error that says why, where that cannot be asked. Rights: viewer.",
  })
  storagePools(@Root() { id }: NodeStub, @Ctx() { request, services }: ComputeContext): Promise<StoragePoolObject[]> {
    return services.storage.pools(request, id);
  }
}

@Resolver(() => StoragePoolObject)
class StoragePoolResolver {
  @FieldResolver(() => [VolumeObject], { nullable: true, description: "By name. Rights: viewer." })
  async volumes(@Root() { nodeId, name }: StoragePoolObject, @Ctx() { nodeVolumes }: ComputeContext): Promise<VolumeObject[]> {
    return (await nodeVolumes.load(nodeId)).filter(({ pool }) => pool === name);
  }

  @FieldResolver(() => NodeStub, { nullable: true })
  node(@Root() { nodeId }: StoragePoolObject): NodeStub {
    return { id: nodeId };
  }
}

@Resolver(() => VolumeObject)
class VolumeResolver {
  @FieldResolver(() => [InstanceObject], { nullable: true, description: "Those of usedBy that are known here." })
  async instances(@Root() { usedBy }: VolumeObject, @Ctx() { instances }: ComputeContext): Promise<InstanceObject[]> {
    const found = await Promise.all(usedBy.map((id) => instances.load(id)));
    return found.flatMap((instance) => (instance === null ? [] : [toInstanceObject(instance)]));
  }

  @FieldResolver(() => NodeStub, { nullable: true })
  node(@Root() { nodeId }: VolumeObject): NodeStub {
    return { id: nodeId };
  }
}

export const STORAGE_FIELDS = [NodeStorageResolver, StoragePoolResolver, VolumeResolver] as const;
