import { registerEnumType } from "type-graphql";
import { enumOf } from "../../../kit/graphql/enum-of.ts";
import { CLUSTER_HEALTHS } from "../../services/kubernetes/cluster-types.ts";

export const KubernetesClusterHealthEnum = enumOf(CLUSTER_HEALTHS);
registerEnumType(KubernetesClusterHealthEnum, {
  name: "KubernetesClusterHealth",
  description: "How a cluster was when it was checked last.",
  valuesConfig: {
    UNKNOWN: { description: "Not checked yet, or disabled." },
    HEALTHY: { description: "It answers, and all its nodes are ready." },
    WARNING: { description: "It answers; some of its nodes are not ready, or its pods cannot be listed." },
    ERROR: { description: "It is reached, and does not answer as it should." },
    UNAVAILABLE: { description: "It is not reached." },
  },
});
