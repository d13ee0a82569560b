import type { ExecutionResult } from "graphql";
import type { Role } from "../../platform/auth/identity.ts";
import type { ClustersFleet, ClustersReplica } from "./clusters-fleet.ts";
import { graphqlRefusal } from "./clusters-fleet.ts";

/** A subscription of the clusters subgraph, read one event at a time. */
export class SubscribedEvents implements AsyncDisposable {
  readonly #results: AsyncIterableIterator<ExecutionResult>;
  readonly #field: string;

  private constructor(results: AsyncIterableIterator<ExecutionResult>, field: string) {
    this.#results = results;
    this.#field = field;
  }

  /** `field`: the subscription's, whose events are read. */
  static async open(
    fleet: ClustersFleet,
    replica: ClustersReplica,
    role: Role,
    field: string,
    query: string,
    variables: Record<string, unknown> = {},
  ): Promise<SubscribedEvents> {
    return new SubscribedEvents(replica.subgraph.handler.subscribe({ query, variables, headers: await fleet.headers(role) }), field);
  }

  /** The next event; throws what it says instead. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they asked for
  async next(): Promise<any> {
    const { done, value } = await this.#results.next();
    if (done === true) throw new Error("The subscription is over.");
    if (value.errors) throw Object.assign(new Error(value.errors[0]?.message), graphqlRefusal(value));
    return value.data?.[this.#field];
  }

  /** The extensions of the error that it ends with, behind whatever else comes. */
  async refusal(): Promise<Record<string, unknown>> {
    for await (const result of this.#results) if (result.errors) return graphqlRefusal(result);
    throw new Error("The subscription ended without an error.");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#results.return?.();
  }
}
