import clusterInfo from "./examples/cluster-info.graphql?raw";
import createInstance from "./examples/create-instance.graphql?raw";
import instanceEvents from "./examples/instance-events.graphql?raw";
import kubernetesClusters from "./examples/kubernetes-clusters.graphql?raw";
import labelNode from "./examples/label-node.graphql?raw";
import nodeEvents from "./examples/node-events.graphql?raw";
import nodes from "./examples/nodes.graphql?raw";

/** What the first tabs show to whoever opens the page for the first time. `npm run check` holds them against the schema. */
export const EXAMPLES = [nodes, nodeEvents, instanceEvents, createInstance, kubernetesClusters, clusterInfo, labelNode].map((query) => ({
  query,
}));
