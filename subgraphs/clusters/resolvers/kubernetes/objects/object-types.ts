import "reflect-metadata";
import { Field, Float, ID, ObjectType } from "type-graphql";
import { DateTime, Int64 } from "../../../../kit/graphql/scalars.ts";
import { KeyValue } from "../../../../kit/graphql/shared-types.ts";
import type { ConditionView, NamespacedHead, ObjectHead, ObjectReference } from "../../../services/kubernetes/objects/object-head.ts";
import type { ResourceAmounts } from "../../../services/kubernetes/objects/quantities.ts";

/** What every object has. Never in a schema by itself. */
@ObjectType("KubernetesObject", { simpleResolvers: true })
export abstract class KubernetesObjectFields implements ObjectHead {
  @Field(() => ID, { description: "Kubernetes' own: never used again, also not for an object of the same name." })
  uid!: string;

  @Field(() => String)
  name!: string;

  @Field(() => [KeyValue])
  labels!: KeyValue[];

  @Field(() => [KeyValue], { description: "Without what `kubectl apply` keeps there." })
  annotations!: KeyValue[];

  @Field(() => DateTime, { nullable: true })
  createdAt!: string | null;

  @Field(() => DateTime, { nullable: true, description: "Since when it is being deleted; null while it is not." })
  deletionRequestedAt!: string | null;
}

/** What every object of a namespace has. Never in a schema by itself. */
@ObjectType("KubernetesNamespacedObject", { simpleResolvers: true })
export abstract class KubernetesNamespacedFields extends KubernetesObjectFields implements NamespacedHead {
  @Field(() => String)
  namespace!: string;
}

@ObjectType("KubernetesCondition", { description: "One aspect of an object's state, as its controller tells it.", simpleResolvers: true })
export class KubernetesConditionType implements ConditionView {
  @Field(() => String)
  type!: string;

  @Field(() => String, { description: "True, False or Unknown." })
  status!: string;

  @Field(() => String, { nullable: true, description: "One word in CamelCase, for programs." })
  reason!: string | null;

  @Field(() => String, { nullable: true, description: "A sentence, for people." })
  message!: string | null;

  @Field(() => DateTime, { nullable: true, description: "When the status last changed." })
  lastTransitionAt!: string | null;
}

@ObjectType("KubernetesObjectReference", { description: "Another object of the same cluster.", simpleResolvers: true })
export class KubernetesObjectReferenceType implements ObjectReference {
  @Field(() => String, { description: '"ReplicaSet".' })
  kind!: string;

  @Field(() => String, { nullable: true, description: "Null: of the cluster itself." })
  namespace!: string | null;

  @Field(() => String)
  name!: string;

  @Field(() => ID, { nullable: true })
  uid!: string | null;
}

@ObjectType("KubernetesResources", {
  description: "Amounts of resources. Null: nothing is said of that one, or not as a number.",
  simpleResolvers: true,
})
export class KubernetesResourcesType implements ResourceAmounts {
  @Field(() => Float, { nullable: true, description: "Logical CPUs; 0.5 is half of one." })
  cpuCores!: number | null;

  @Field(() => Int64, { nullable: true })
  memoryBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: "Of the node's own disk." })
  ephemeralStorageBytes!: number | null;

  @Field(() => Int64, { nullable: true, description: "How many pods; of nodes only." })
  pods!: number | null;

  @Field(() => [KeyValue], { description: 'All others, such as devices and huge pages, as Kubernetes writes them: "nvidia.com/gpu", "8".' })
  others!: KeyValue[];
}
