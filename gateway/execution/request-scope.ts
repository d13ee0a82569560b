import type { ExecutionResult } from "graphql";
import type { RequestContext } from "../../platform/request-context.ts";

/** What the fetches of one operation, or of one event, need to know. It is the `contextValue` of Apollo Server. */
export interface RequestScope {
  readonly request: RequestContext;
  /** The event of a subscription: it answers the plan's first fetch in the place of the subgraph that sent it. */
  readonly event?: { readonly subgraph: string; readonly query: string; readonly result: ExecutionResult };
}

/** A scope while its plan is executed. */
export interface ExecutionScope extends RequestScope {
  /** What the fetches of root fields have brought; the executor goes on filling in these very objects. */
  readonly roots: unknown[];
}

/** The headers that go to subgraphs with every fetch and subscription. */
export function forwardedHeaders({ token, requestId }: Pick<RequestContext, "token" | "requestId">): Record<string, string> {
  return { ...(token !== null && { authorization: `Bearer ${token}` }), "x-request-id": requestId };
}
