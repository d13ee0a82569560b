import { type ExecutionResult, GraphQLError } from "graphql";
import { FleetError } from "../../platform/errors/fleet-error.ts";

/** `reason` of a subscription that was accepted and then lost on the way: it may be had again from where it was. */
export const CONNECTION_LOST = "ConnectionLost";

/** The subgraph cannot be reached or does not speak GraphQL. The cause is for the log; the message names the subgraph alone. */
export function unavailable(subgraph: string, why: string, cause?: unknown, reason?: string): FleetError {
  return new FleetError("UNAVAILABLE", `The subgraph ${JSON.stringify(subgraph)} ${why}.`, { reason, details: { subgraph }, cause });
}

/** The deadline passed while the subgraph was working. */
export function lateAnswer(subgraph: string): FleetError {
  return new FleetError("DEADLINE_EXCEEDED", `The subgraph ${JSON.stringify(subgraph)} did not answer in time.`, { details: { subgraph } });
}

export function cancelled(): FleetError {
  return new FleetError("CANCELLED", "The request was cancelled.");
}

/** A fault as a GraphQL error: message, code, reason and details; the cause is left out. */
export function faultToGraphQLError(fault: FleetError, path?: readonly (string | number)[]): GraphQLError {
  const reason = fault.reason === undefined ? {} : { reason: fault.reason };
  return new GraphQLError(fault.message, { path, extensions: { ...fault.details, ...reason, code: fault.code } });
}

/** A fault as the answer of the subgraph that has it. */
export function faultResult(fault: FleetError): ExecutionResult {
  return { errors: [faultToGraphQLError(fault)] };
}
