import { Arg, Ctx, FieldResolver, ID, Query, Resolver, Root } from "type-graphql";
import type { ComputeContext } from "../compute-context.ts";
import { InstanceObject, toInstanceObject } from "../instance-type.ts";
import { NodeStub } from "../node-stub.ts";
import { ConsoleSessionObject } from "./console-session-type.ts";

@Resolver(() => ConsoleSessionObject)
class ConsoleSessionResolver {
  @Query(() => ConsoleSessionObject, {
    nullable: true,
    description: "A session as it is now. Rights: operator; admin for a shell. NOT_FOUND where there is none, or it is over.",
  })
  consoleSession(@Arg("id", () => ID) id: string, @Ctx() { request, services }: ComputeContext): Promise<ConsoleSessionObject> {
    return services.consoles.get(request, id);
  }

  @FieldResolver(() => InstanceObject, { nullable: true, description: "Null for a shell, and where it is no longer known." })
  async instance(@Root() { instanceId }: ConsoleSessionObject, @Ctx() { instances }: ComputeContext): Promise<InstanceObject | null> {
    const instance = instanceId === null ? null : await instances.load(instanceId);
    return instance && toInstanceObject(instance);
  }

  @FieldResolver(() => NodeStub, { nullable: true, description: "Null where the node is no longer known." })
  node(@Root() { nodeId }: ConsoleSessionObject): NodeStub {
    return { id: nodeId };
  }
}

@Resolver(() => InstanceObject)
class InstanceConsolesResolver {
  @FieldResolver(() => [ConsoleSessionObject], {
    nullable: true,
    description: "Its console sessions, asked of its node's agent: UNAVAILABLE where that does not answer. Rights: operator.",
  })
  async consoles(@Root() { id, nodeId, state }: InstanceObject, @Ctx() { consoles }: ComputeContext): Promise<ConsoleSessionObject[]> {
    if (state === "DELETED") return [];
    return (await consoles.load(nodeId)).filter(({ instanceId }) => instanceId === id);
  }
}

@Resolver(() => NodeStub)
class NodeConsolesResolver {
  @FieldResolver(() => [ConsoleSessionObject], {
    nullable: true,
    description:
      "Console sessions of its instances and, for admins, shells on the host itself. UNAVAILABLE where its agent does not answer. Rights: operator.",
  })
  consoles(@Root() { id }: NodeStub, @Ctx() { consoles }: ComputeContext): Promise<ConsoleSessionObject[]> {
    return consoles.load(id);
  }
}

/** Sessions, and what leads to them. */
export const CONSOLE_FIELDS = [ConsoleSessionResolver, InstanceConsolesResolver, NodeConsolesResolver] as const;
