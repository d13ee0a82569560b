import { executeQueryPlan, type GraphQLDataSource } from "@apollo/gateway";
import type { QueryPlan } from "@apollo/query-planner";
import type { ExecutionResult } from "graphql";
import type { PreparedOperation } from "./prepared-operation.ts";
import { completionErrors, publicErrors } from "./public-errors.ts";
import type { ExecutionScope, RequestScope } from "./request-scope.ts";

export type DataSources = Readonly<Record<string, GraphQLDataSource>>;

type ExecutorRequest = Parameters<typeof executeQueryPlan>[2];

/**
 * Runs a plan. The answer's errors are what clients may see. Whoever calls keeps the snapshot of `prepared` and its data sources,
 * whatever is swapped in meanwhile. `plan` replaces the operation's own, for an event of a subscription.
 */
export async function runOperation(
  prepared: PreparedOperation,
  variables: Record<string, unknown> | undefined,
  scope: RequestScope,
  dataSources: DataSources,
  plan: QueryPlan = prepared.plan,
): Promise<ExecutionResult> {
  const { snapshot, context } = prepared;
  const { log } = scope.request;
  try {
    const execution: ExecutionScope = { ...scope, roots: [] };
    const request = { request: { variables }, context: execution, metrics: {}, logger: log };
    const { data, errors, extensions } = await executeQueryPlan(
      plan,
      dataSources,
      request as unknown as ExecutorRequest,
      context,
      snapshot.supergraphSchema,
      snapshot.apiSchema,
    );
    const faults = [...publicErrors(errors ?? [], log), ...completionErrors(extensions?.valueCompletion)];
    return faults.length > 0 ? { errors: faults, ...(data !== undefined && { data }) } : { data: data ?? null };
  } catch (error) {
    return { errors: publicErrors([error], log), data: null };
  }
}
