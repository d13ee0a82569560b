/** The subgraphs of this release, in the order in which they start. */
export const SUBGRAPHS = ["clusters", "nodes", "compute"] as const;
export type SubgraphName = (typeof SUBGRAPHS)[number];
