import clusterInfo from "./examples/cluster-info.graphql?raw";
import labelNode from "./examples/label-node.graphql?raw";
import nodeEvents from "./examples/node-events.graphql?raw";
import nodes from "./examples/nodes.graphql?raw";

/** What the first tabs show to whoever opens the page for the first time. `npm run check` holds the operations against the schema. */
export const EXAMPLES = [
  { query: nodes },
  { query: nodeEvents },
  { query: clusterInfo },
  {
    query: labelNode,
    variables: JSON.stringify({ input: { id: "the id of a node, from the first tab", labels: [{ key: "rack", value: "a1" }] } }, null, 2),
  },
];
