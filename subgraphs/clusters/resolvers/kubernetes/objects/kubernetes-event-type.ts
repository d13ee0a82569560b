import { Field, Int, ObjectType } from "type-graphql";
import { DateTime } from "../../../../kit/graphql/scalars.ts";
import type { KubernetesEventView } from "../../../services/kubernetes/objects/event-object.ts";
import { KubernetesNamespacedFields, KubernetesObjectReferenceType } from "./object-types.ts";

@ObjectType("KubernetesEvent", {
  description: "What a component of a Kubernetes cluster noted about an object. Kept there for an hour, as a rule.",
  simpleResolvers: true,
})
export class KubernetesEventType extends KubernetesNamespacedFields implements KubernetesEventView {
  @Field(() => String, { nullable: true, description: "Normal or Warning." })
  type!: string | null;

  @Field(() => String, { nullable: true, description: "One word in CamelCase, for programs." })
  reason!: string | null;

  @Field(() => String, { nullable: true, description: "A sentence, for people." })
  message!: string | null;

  @Field(() => Int, { description: "How often it happened." })
  count!: number;

  @Field(() => DateTime, { nullable: true })
  firstAt!: string | null;

  @Field(() => DateTime, { nullable: true })
  lastAt!: string | null;

  @Field(() => String, { nullable: true, description: 'The component, and where it runs: "kubelet, worker-1".' })
  source!: string | null;

  @Field(() => KubernetesObjectReferenceType, { nullable: true, description: "What it is about." })
  object!: KubernetesObjectReferenceType | null;
}
