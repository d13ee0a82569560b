import { Ctx, FieldResolver, Resolver, Root } from "type-graphql";
import { hasRole } from "../../../platform/auth/identity.ts";
import { toKeyValues } from "../../kit/graphql/key-values.ts";
import { KeyValue } from "../../kit/graphql/shared-types.ts";
import type { ComputeContext } from "./compute-context.ts";
import { CloudInitType, InstanceSpecType } from "./instance-spec-type.ts";
import { InstanceObject } from "./instance-type.ts";
import { NodeStub } from "./node-stub.ts";

const SECRET = "Null for viewers, because it often holds secrets. Rights: operator.";

@Resolver(() => InstanceObject)
class InstanceNodeResolver {
  @FieldResolver(() => NodeStub, { nullable: true, description: "Null where the node is no longer known." })
  node(@Root() { nodeId }: InstanceObject): NodeStub {
    return { id: nodeId };
  }
}

@Resolver(() => InstanceSpecType)
class InstanceSpecResolver {
  @FieldResolver(() => [KeyValue], {
    nullable: true,
    description: `Variables of a container's command, or what a VM is told by its host. ${SECRET}`,
  })
  async env(@Root() { instanceId }: InstanceSpecType, @Ctx() { request, secrets }: ComputeContext): Promise<KeyValue[] | null> {
    if (!hasRole(request.identity, "operator")) return null;
    return toKeyValues((await secrets.load(instanceId))?.env ?? {});
  }
}

@Resolver(() => CloudInitType)
class CloudInitResolver {
  @FieldResolver(() => String, { nullable: true, description: `As cloud-init takes it. ${SECRET}` })
  async userData(@Root() { instanceId }: CloudInitType, @Ctx() { request, secrets }: ComputeContext): Promise<string | null> {
    if (!hasRole(request.identity, "operator")) return null;
    return (await secrets.load(instanceId))?.userData ?? null;
  }
}

/** What an instance's own fields lead to. */
export const INSTANCE_FIELDS = [InstanceNodeResolver, InstanceSpecResolver, CloudInitResolver] as const;
