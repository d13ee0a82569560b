import { Ctx, FieldResolver, Resolver, Root } from "type-graphql";
import type { ClustersContext } from "../../clusters-context.ts";
import { NodeType, toNodeType } from "../../node-type.ts";
import { KubernetesNodeType } from "./kubernetes-node-type.ts";
import { KubernetesEnvironmentVariableType } from "./kubernetes-pod-type.ts";

@Resolver(() => KubernetesNodeType)
export class KubernetesNodeFieldsResolver {
  @FieldResolver(() => NodeType, {
    nullable: true,
    description:
      "The host of the fleet that it runs on: by a provider id that ends with the Node's id, by the machine id that its agent reports, or by an address. Null where none, or more than one, matches. Rights: viewer.",
  })
  async node(@Root() kubernetesNode: KubernetesNodeType, @Ctx() { request, services, nodes }: ClustersContext): Promise<NodeType | null> {
    const id = await services.kubernetes.objects.hostOf(request, kubernetesNode);
    const node = id === null ? null : await nodes.load(id);
    return node && toNodeType(node);
  }
}

@Resolver(() => KubernetesEnvironmentVariableType)
export class KubernetesEnvironmentFieldsResolver {
  @FieldResolver(() => String, {
    nullable: true,
    description: "Of VALUE, as the pod states it; of all others null: they are not read. Rights: operator.",
  })
  value(@Root() variable: KubernetesEnvironmentVariableType, @Ctx() { request, services }: ClustersContext): string | null {
    return services.kubernetes.objects.envValue(request, variable);
  }
}
