import type { RequestContext } from "../../../platform/request-context.ts";

/**
 * What every resolver finds in its GraphQL context. A subgraph's own context adds its services and DataLoaders; a new one is made
 * for every query and for every event of a subscription, so that a loader never answers with what it saw before.
 */
export interface SubgraphContext {
  readonly request: RequestContext;
}
