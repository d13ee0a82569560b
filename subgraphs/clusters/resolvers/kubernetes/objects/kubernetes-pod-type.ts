import { Field, Int, ObjectType, registerEnumType } from "type-graphql";
import { enumOf } from "../../../../kit/graphql/enum-of.ts";
import { DateTime } from "../../../../kit/graphql/scalars.ts";
import {
  type ContainerView,
  ENV_SOURCES,
  type EnvironmentVariable,
  type EnvSource,
} from "../../../services/kubernetes/objects/pod-container.ts";
import type { KubernetesPodView } from "../../../services/kubernetes/objects/pod-object.ts";
import { KubernetesNamespacedFields, KubernetesObjectReferenceType, KubernetesResourcesType } from "./object-types.ts";

const KubernetesEnvSourceEnum = enumOf(ENV_SOURCES);
registerEnumType(KubernetesEnvSourceEnum, {
  name: "KubernetesEnvSource",
  description: "Where the value of a container's environment variable comes from.",
  valuesConfig: {
    VALUE: { description: "It stands in the pod itself." },
    CONFIG_MAP: { description: "A key of a ConfigMap." },
    SECRET: { description: "A key of a Secret. Secrets are never read." },
    FIELD: { description: "A field of the pod." },
    RESOURCE: { description: "A container's request or limit." },
  },
});

@ObjectType("KubernetesEnvironmentVariable", { simpleResolvers: true })
export class KubernetesEnvironmentVariableType implements EnvironmentVariable {
  @Field(() => String)
  name!: string;

  @Field(() => KubernetesEnvSourceEnum)
  source!: EnvSource;

  @Field(() => String, { nullable: true, description: 'What it is taken from, such as "database/password"; null for VALUE.' })
  reference!: string | null;

  /** Shown by the field `value`, which checks who asks. */
  literal!: string | null;
}

@ObjectType("KubernetesContainerResources", { simpleResolvers: true })
export class KubernetesContainerResourcesType {
  @Field(() => KubernetesResourcesType, { nullable: true, description: "What its node must have for it; null where it asks for nothing." })
  requests!: KubernetesResourcesType | null;

  @Field(() => KubernetesResourcesType, { nullable: true, description: "What it may not exceed; null where nothing is limited." })
  limits!: KubernetesResourcesType | null;
}

@ObjectType("KubernetesContainer", { description: "A container of a pod, with what its kubelet says of it.", simpleResolvers: true })
export class KubernetesContainerType implements ContainerView {
  @Field(() => String)
  name!: string;

  @Field(() => String, { nullable: true })
  image!: string | null;

  @Field(() => Boolean)
  ready!: boolean;

  @Field(() => Int)
  restarts!: number;

  @Field(() => String, { nullable: true, description: "Waiting, Running or Terminated; null before its kubelet said anything." })
  state!: string | null;

  @Field(() => String, { nullable: true, description: 'Why it is in this state: "CrashLoopBackOff".' })
  reason!: string | null;

  @Field(() => String, { nullable: true })
  message!: string | null;

  @Field(() => DateTime, { nullable: true, description: "When it began to run, this time; null while it waits." })
  startedAt!: string | null;

  @Field(() => Int, { nullable: true, description: "Of the last time that it ended; null where it never did." })
  exitCode!: number | null;

  @Field(() => String, { nullable: true, description: 'Why it ended the last time: "OOMKilled".' })
  lastEndReason!: string | null;

  @Field(() => KubernetesContainerResourcesType)
  resources!: KubernetesContainerResourcesType;

  @Field(() => [KubernetesEnvironmentVariableType], { description: "What the pod names one by one." })
  env!: KubernetesEnvironmentVariableType[];
}

@ObjectType("KubernetesPod", { description: "A pod of a Kubernetes cluster.", simpleResolvers: true })
export class KubernetesPodType extends KubernetesNamespacedFields implements KubernetesPodView {
  @Field(() => String, { nullable: true, description: "Pending, Running, Succeeded, Failed or Unknown." })
  phase!: string | null;

  @Field(() => String, { nullable: true, description: 'Its own ("Evicted"), else of its first container that waits or failed.' })
  reason!: string | null;

  @Field(() => String, { nullable: true })
  message!: string | null;

  @Field(() => String, { nullable: true, description: "The KubernetesNode it was given to; null before that." })
  nodeName!: string | null;

  @Field(() => String, { nullable: true })
  podIP!: string | null;

  @Field(() => String, { nullable: true })
  hostIP!: string | null;

  @Field(() => String, { nullable: true, description: "Guaranteed, Burstable or BestEffort." })
  qosClass!: string | null;

  @Field(() => Int, { nullable: true, description: "Higher ones go first." })
  priority!: number | null;

  @Field(() => KubernetesObjectReferenceType, { nullable: true, description: "What made it and looks after it, such as a ReplicaSet." })
  owner!: KubernetesObjectReferenceType | null;

  @Field(() => [KubernetesContainerType])
  containers!: KubernetesContainerType[];

  @Field(() => [KubernetesContainerType], { description: "Those that run one after the other before the others." })
  initContainers!: KubernetesContainerType[];
}
