import { Arg, Ctx, Mutation, Resolver } from "type-graphql";
import type { KubernetesClusterView } from "../../services/kubernetes/cluster-types.ts";
import type { ClustersContext } from "../clusters-context.ts";
import {
  CreateKubernetesClusterInput,
  DeleteKubernetesClusterInput,
  DisableKubernetesClusterInput,
  EnableKubernetesClusterInput,
  SetDefaultKubernetesClusterInput,
  UpdateKubernetesClusterInput,
} from "./cluster-inputs.ts";
import {
  CreateKubernetesClusterPayload,
  DeleteKubernetesClusterPayload,
  DisableKubernetesClusterPayload,
  EnableKubernetesClusterPayload,
  SetDefaultKubernetesClusterPayload,
  UpdateKubernetesClusterPayload,
} from "./cluster-payloads.ts";
import { KubernetesClusterType, toKubernetesClusterType } from "./cluster-type.ts";

@Resolver(() => KubernetesClusterType)
export class KubernetesClusterMutationsResolver {
  @Mutation(() => CreateKubernetesClusterPayload, {
    description:
      "Registers a cluster, once its connection was tested: a failure is UNAVAILABLE, with the step (DNS, TCP, TLS, AUTHENTICATION, AUTHORIZATION, VERSION). Rights: admin.",
  })
  createKubernetesCluster(
    @Arg("input", () => CreateKubernetesClusterInput) input: CreateKubernetesClusterInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<CreateKubernetesClusterPayload> {
    return payload(services.kubernetes.registry.create(request, input));
  }

  @Mutation(() => UpdateKubernetesClusterPayload, {
    description:
      "Changes a cluster. A new kubeconfig or context is tested first; what was read or watched by the former ends. Rights: admin.",
  })
  updateKubernetesCluster(
    @Arg("input", () => UpdateKubernetesClusterInput) { id, ...patch }: UpdateKubernetesClusterInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<UpdateKubernetesClusterPayload> {
    return payload(services.kubernetes.registry.update(request, id, patch));
  }

  @Mutation(() => DeleteKubernetesClusterPayload, {
    description:
      "Forgets a cluster and its kubeconfig; nothing is done in the cluster itself. Its name is free again. The default one is deleted last. Rights: admin.",
  })
  deleteKubernetesCluster(
    @Arg("input", () => DeleteKubernetesClusterInput) { id }: DeleteKubernetesClusterInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<DeleteKubernetesClusterPayload> {
    return payload(services.kubernetes.registry.delete(request, id));
  }

  @Mutation(() => SetDefaultKubernetesClusterPayload, {
    description: "Makes an enabled cluster the default, in the place of another. Rights: admin.",
  })
  setDefaultKubernetesCluster(
    @Arg("input", () => SetDefaultKubernetesClusterInput) { id }: SetDefaultKubernetesClusterInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<SetDefaultKubernetesClusterPayload> {
    return payload(services.kubernetes.registry.setDefault(request, id));
  }

  @Mutation(() => EnableKubernetesClusterPayload, { description: "A check follows at once. Rights: admin." })
  enableKubernetesCluster(
    @Arg("input", () => EnableKubernetesClusterInput) { id }: EnableKubernetesClusterInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<EnableKubernetesClusterPayload> {
    return payload(services.kubernetes.registry.enable(request, id));
  }

  @Mutation(() => DisableKubernetesClusterPayload, {
    description:
      "The cluster is neither checked nor watched; its objects cannot be read. The default one is refused while others exist. Rights: admin.",
  })
  disableKubernetesCluster(
    @Arg("input", () => DisableKubernetesClusterInput) { id }: DisableKubernetesClusterInput,
    @Ctx() { request, services }: ClustersContext,
  ): Promise<DisableKubernetesClusterPayload> {
    return payload(services.kubernetes.registry.disable(request, id));
  }
}

async function payload(changed: Promise<KubernetesClusterView>): Promise<{ kubernetesCluster: KubernetesClusterType }> {
  return { kubernetesCluster: toKubernetesClusterType(await changed) };
}
