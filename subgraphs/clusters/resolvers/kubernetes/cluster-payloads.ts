import { Field, ObjectType } from "type-graphql";
import { KubernetesClusterType } from "./cluster-type.ts";

@ObjectType("CreateKubernetesClusterPayload", { simpleResolvers: true })
export class CreateKubernetesClusterPayload {
  @Field(() => KubernetesClusterType, {
    description: "Not checked yet; the first check follows at once, and its events tell what it found.",
  })
  kubernetesCluster!: KubernetesClusterType;
}

@ObjectType("UpdateKubernetesClusterPayload", { simpleResolvers: true })
export class UpdateKubernetesClusterPayload {
  @Field(() => KubernetesClusterType)
  kubernetesCluster!: KubernetesClusterType;
}

@ObjectType("DeleteKubernetesClusterPayload", { simpleResolvers: true })
export class DeleteKubernetesClusterPayload {
  @Field(() => KubernetesClusterType, { description: "Its last state." })
  kubernetesCluster!: KubernetesClusterType;
}

@ObjectType("SetDefaultKubernetesClusterPayload", { simpleResolvers: true })
export class SetDefaultKubernetesClusterPayload {
  @Field(() => KubernetesClusterType)
  kubernetesCluster!: KubernetesClusterType;
}

@ObjectType("EnableKubernetesClusterPayload", { simpleResolvers: true })
export class EnableKubernetesClusterPayload {
  @Field(() => KubernetesClusterType)
  kubernetesCluster!: KubernetesClusterType;
}

@ObjectType("DisableKubernetesClusterPayload", { simpleResolvers: true })
export class DisableKubernetesClusterPayload {
  @Field(() => KubernetesClusterType)
  kubernetesCluster!: KubernetesClusterType;
}
