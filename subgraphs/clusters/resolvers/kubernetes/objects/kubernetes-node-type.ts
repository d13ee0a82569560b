import { Field, ObjectType } from "type-graphql";
import type { KubernetesNodeView } from "../../../services/kubernetes/objects/node-object.ts";
import { KubernetesConditionType, KubernetesObjectFields, KubernetesResourcesType } from "./object-types.ts";

@ObjectType("KubernetesNodeAddress", { simpleResolvers: true })
export class KubernetesNodeAddressType {
  @Field(() => String, { description: "InternalIP, ExternalIP, Hostname, InternalDNS or ExternalDNS." })
  type!: string;

  @Field(() => String)
  address!: string;
}

@ObjectType("KubernetesTaint", { description: "What keeps pods that do not tolerate it away from a node.", simpleResolvers: true })
export class KubernetesTaintType {
  @Field(() => String)
  key!: string;

  @Field(() => String, { nullable: true })
  value!: string | null;

  @Field(() => String, { description: "NoSchedule, PreferNoSchedule or NoExecute." })
  effect!: string;
}

@ObjectType("KubernetesNode", {
  description: "A node of a Kubernetes cluster. (`Node` is a host of the fleet; `node` tells which, where it is one.)",
  simpleResolvers: true,
})
export class KubernetesNodeType extends KubernetesObjectFields implements KubernetesNodeView {
  @Field(() => Boolean, { description: "The condition Ready is True." })
  ready!: boolean;

  @Field(() => [KubernetesConditionType], { description: "By type." })
  conditions!: KubernetesConditionType[];

  @Field(() => [String], { description: 'As its labels say: "control-plane".' })
  roles!: string[];

  @Field(() => String, { nullable: true })
  kubeletVersion!: string | null;

  @Field(() => String, { nullable: true, description: '"Debian GNU/Linux 12 (bookworm)".' })
  osImage!: string | null;

  @Field(() => String, { nullable: true })
  kernelVersion!: string | null;

  @Field(() => String, { nullable: true, description: 'With its version: "containerd://1.7.24".' })
  containerRuntime!: string | null;

  @Field(() => String, { nullable: true, description: '"amd64".' })
  architecture!: string | null;

  @Field(() => String, { nullable: true, description: '"linux".' })
  operatingSystem!: string | null;

  @Field(() => [KubernetesNodeAddressType])
  addresses!: KubernetesNodeAddressType[];

  @Field(() => KubernetesResourcesType, { nullable: true, description: "What it has; null before its kubelet said so." })
  capacity!: KubernetesResourcesType | null;

  @Field(() => KubernetesResourcesType, { nullable: true, description: "What of it pods may use." })
  allocatable!: KubernetesResourcesType | null;

  @Field(() => [KubernetesTaintType])
  taints!: KubernetesTaintType[];

  @Field(() => Boolean, { description: "Cordoned: no new pods come here." })
  unschedulable!: boolean;

  @Field(() => [String], { description: "Where its pods' addresses are from." })
  podCIDRs!: string[];

  @Field(() => String, { nullable: true, description: "Its cloud's name for the machine." })
  providerId!: string | null;

  @Field(() => String, { nullable: true, description: "The machine's /etc/machine-id." })
  machineId!: string | null;
}
