import type { ExecutionResult } from "graphql";
import type { SubgraphRequest } from "../../platform/subgraph-handler.ts";

/** The way to one subgraph: over the network, or in this process. */
export interface SubgraphTransport {
  readonly name: string;
  /** Never throws: what goes wrong on the way is an error in the result, masked (see faults.ts). */
  execute(request: SubgraphRequest): Promise<ExecutionResult>;
  /**
   * A stream that is read no faster than it is consumed. What the subgraph itself says at the end (a refusal, an expired token) is a last
   * result with `errors` and no `data`; what happens on the way (no connection, no acknowledgement, a lost one) throws a FleetError.
   * `return()` and the signal end it at once, also while it is quiet.
   */
  subscribe(request: SubgraphRequest): AsyncIterableIterator<ExecutionResult>;
  /** Null where the subgraph answers, else a word on why it does not. No addresses. */
  unreachable(deadlineMs: number): Promise<string | null>;
  close(): Promise<void>;
}
