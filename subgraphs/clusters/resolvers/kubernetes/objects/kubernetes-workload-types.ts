import { Field, Int, ObjectType } from "type-graphql";
import type { KubernetesDeploymentView } from "../../../services/kubernetes/objects/deployment-object.ts";
import type { KubernetesNamespaceView } from "../../../services/kubernetes/objects/namespace-object.ts";
import type { KubernetesServiceView, ServicePort } from "../../../services/kubernetes/objects/service-object.ts";
import { KubernetesConditionType, KubernetesNamespacedFields, KubernetesObjectFields } from "./object-types.ts";

@ObjectType("KubernetesNamespace", { description: "A namespace of a Kubernetes cluster.", simpleResolvers: true })
export class KubernetesNamespaceType extends KubernetesObjectFields implements KubernetesNamespaceView {
  @Field(() => String, { nullable: true, description: "Active or Terminating." })
  phase!: string | null;
}

@ObjectType("KubernetesReplicas", { description: "How many pods a deployment is to have, and has.", simpleResolvers: true })
export class KubernetesReplicasType {
  @Field(() => Int)
  desired!: number;

  @Field(() => Int, { description: "Of every version." })
  current!: number;

  @Field(() => Int)
  ready!: number;

  @Field(() => Int, { description: "Of the newest version." })
  updated!: number;

  @Field(() => Int, { description: "Ready for long enough." })
  available!: number;
}

@ObjectType("KubernetesDeployment", { description: "A deployment of a Kubernetes cluster.", simpleResolvers: true })
export class KubernetesDeploymentType extends KubernetesNamespacedFields implements KubernetesDeploymentView {
  @Field(() => KubernetesReplicasType)
  replicas!: KubernetesReplicasType;

  @Field(() => Boolean, { description: "Changes are not rolled out for now." })
  paused!: boolean;

  @Field(() => [KubernetesConditionType], { description: "By type." })
  conditions!: KubernetesConditionType[];

  @Field(() => String, { nullable: true, description: "Which pods are its own, as a `labelSelector`." })
  selector!: string | null;

  @Field(() => [String], { description: "Of its containers, each once." })
  images!: string[];
}

@ObjectType("KubernetesServicePort", { simpleResolvers: true })
export class KubernetesServicePortType implements ServicePort {
  @Field(() => String, { nullable: true })
  name!: string | null;

  @Field(() => String, { description: "TCP, UDP or SCTP." })
  protocol!: string;

  @Field(() => Int)
  port!: number;

  @Field(() => String, { nullable: true, description: "Of the pods: a number, or the name that they give to a port." })
  targetPort!: string | null;

  @Field(() => Int, { nullable: true, description: "At which every node answers for it." })
  nodePort!: number | null;
}

@ObjectType("KubernetesService", { description: "A service of a Kubernetes cluster.", simpleResolvers: true })
export class KubernetesServiceType extends KubernetesNamespacedFields implements KubernetesServiceView {
  @Field(() => String, { nullable: true, description: "ClusterIP, NodePort, LoadBalancer or ExternalName." })
  type!: string | null;

  @Field(() => [String], { description: 'Inside of the cluster; "None" for a headless one.' })
  clusterIPs!: string[];

  @Field(() => [String])
  externalIPs!: string[];

  @Field(() => String, { nullable: true, description: "Of ExternalName: the DNS name that it stands for." })
  externalName!: string | null;

  @Field(() => [String], { description: "Addresses and names that a load balancer gave it." })
  loadBalancer!: string[];

  @Field(() => [KubernetesServicePortType])
  ports!: KubernetesServicePortType[];

  @Field(() => String, { nullable: true, description: "Which pods it leads to, as a `labelSelector`; null where none are chosen so." })
  selector!: string | null;
}
