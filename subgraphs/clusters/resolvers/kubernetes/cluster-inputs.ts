import { Field, ID, InputType } from "type-graphql";
import type { ClusterHealth } from "../../services/kubernetes/cluster-types.ts";
import { KubernetesClusterHealthEnum } from "./cluster-enums.ts";

@InputType("KubernetesClusterFilter", { description: "What is null or left out does not filter." })
export class KubernetesClusterFilterInput {
  @Field(() => String, { nullable: true, description: "A part of the name, upper and lower case alike." })
  name?: string | null;

  @Field(() => Boolean, { nullable: true })
  enabled?: boolean | null;

  @Field(() => [KubernetesClusterHealthEnum], { nullable: true, description: "Any of these; an empty list matches nothing." })
  healthStatuses?: ClusterHealth[] | null;

  @Field(() => Boolean, { nullable: true })
  isDefault?: boolean | null;
}

const KUBECONFIG =
  "YAML, plain or in base64, up to 1 MiB, complete in itself: programs (exec) and files that it refers to are refused, since they would be run or read on the server. `fleetgraph cluster manifest` prints an account for this. Kept encrypted.";

@InputType("CreateKubernetesClusterInput")
export class CreateKubernetesClusterInput {
  @Field(() => String, { description: "1–100 characters, unique." })
  name!: string;

  @Field(() => String, { description: KUBECONFIG })
  kubeconfig!: string;

  @Field(() => String, { nullable: true, description: "Of the kubeconfig's contexts; its current one where left out." })
  context?: string | null;

  @Field(() => Boolean, {
    nullable: true,
    description: "False where left out, for the first cluster, too. True takes it from the present default.",
  })
  isDefault?: boolean | null;

  @Field(() => Boolean, { nullable: true, description: "True where left out." })
  enabled?: boolean | null;

  @Field(() => Boolean, { nullable: true, description: "True where left out: its Prometheus is looked for when it becomes healthy." })
  discoverPrometheus?: boolean | null;

  @Field(() => Boolean, { nullable: true, description: "Store it untested, reachable or not." })
  force?: boolean | null;

  @Field(() => String, {
    nullable: true,
    description: "Up to 128 characters. A call with one that was used before answers with the cluster that it made, and changes nothing.",
  })
  clientRequestId?: string | null;
}

@InputType("UpdateKubernetesClusterInput", { description: "What is left out stays as it is." })
export class UpdateKubernetesClusterInput {
  @Field(() => ID)
  id!: string;

  @Field(() => String, { nullable: true, description: "1–100 characters, unique." })
  name?: string | null;

  @Field(() => String, { nullable: true, description: KUBECONFIG })
  kubeconfig?: string | null;

  @Field(() => String, {
    nullable: true,
    description: "Null: the kubeconfig's current one, as also where a new kubeconfig comes without a context.",
  })
  context?: string | null;

  @Field(() => Boolean, { nullable: true, description: "False is refused (DefaultCluster) where it is the default and others exist." })
  isDefault?: boolean | null;

  @Field(() => Boolean, { nullable: true })
  enabled?: boolean | null;

  @Field(() => Boolean, { nullable: true })
  discoverPrometheus?: boolean | null;

  @Field(() => String, {
    nullable: true,
    description: "http or https, without credentials. Stops discovery; null clears it, and begins discovery again.",
  })
  prometheusUrl?: string | null;

  @Field(() => Boolean, { nullable: true, description: "Store a new kubeconfig or context untested." })
  force?: boolean | null;
}

@InputType("DeleteKubernetesClusterInput")
export class DeleteKubernetesClusterInput {
  @Field(() => ID)
  id!: string;
}

@InputType("SetDefaultKubernetesClusterInput")
export class SetDefaultKubernetesClusterInput {
  @Field(() => ID)
  id!: string;
}

@InputType("EnableKubernetesClusterInput")
export class EnableKubernetesClusterInput {
  @Field(() => ID)
  id!: string;
}

@InputType("DisableKubernetesClusterInput")
export class DisableKubernetesClusterInput {
  @Field(() => ID)
  id!: string;
}
