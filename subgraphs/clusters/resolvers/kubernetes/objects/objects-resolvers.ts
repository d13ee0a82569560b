import {
  DEPLOYMENT_KIND,
  EVENT_KIND,
  NAMESPACE_KIND,
  NODE_KIND,
  POD_KIND,
  SERVICE_KIND,
} from "../../../services/kubernetes/objects/object-kinds.ts";
import { KubernetesEventType } from "./kubernetes-event-type.ts";
import { KubernetesNodeType } from "./kubernetes-node-type.ts";
import { KubernetesPodType } from "./kubernetes-pod-type.ts";
import { KubernetesDeploymentType, KubernetesNamespaceType, KubernetesServiceType } from "./kubernetes-workload-types.ts";
import { KubernetesEnvironmentFieldsResolver, KubernetesNodeFieldsResolver } from "./object-fields.ts";
import { objectResolvers } from "./object-resolvers.ts";
import { KubernetesPodLogsResolver } from "./pod-logs.ts";

/** What a Kubernetes cluster tells of what is in it. */
export const KUBERNETES_OBJECT_RESOLVERS = [
  ...objectResolvers({ kind: NODE_KIND, type: KubernetesNodeType, name: "Node", field: "nodes" }),
  ...objectResolvers({ kind: POD_KIND, type: KubernetesPodType, name: "Pod", field: "pods" }),
  ...objectResolvers({ kind: NAMESPACE_KIND, type: KubernetesNamespaceType, name: "Namespace", field: "namespaces" }),
  ...objectResolvers({ kind: DEPLOYMENT_KIND, type: KubernetesDeploymentType, name: "Deployment", field: "deployments" }),
  ...objectResolvers({ kind: SERVICE_KIND, type: KubernetesServiceType, name: "Service", field: "services" }),
  ...objectResolvers({ kind: EVENT_KIND, type: KubernetesEventType, name: "Event", field: "events" }),
  KubernetesNodeFieldsResolver,
  KubernetesEnvironmentFieldsResolver,
  KubernetesPodLogsResolver,
] as const;
