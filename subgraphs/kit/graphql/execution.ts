import {
  createSourceEventStream,
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  type GraphQLFormattedError,
  type GraphQLSchema,
  getOperationAST,
  type OperationTypeNode,
} from "graphql";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../platform/observability/log.ts";
import type { SubgraphRequest } from "../../../platform/subgraph-handler.ts";
import type { SubgraphContext } from "./context.ts";
import type { CheckedDocument } from "./documents.ts";
import { executionErrorToWire, fleetErrorToWire, type GraphQLCode, logMasked, wireResult } from "./errors.ts";
import type { Started } from "./operation-stream.ts";

/** A valid document and which of its operations to run. */
export interface Operation {
  document: DocumentNode;
  type: OperationTypeNode;
  name: string | undefined;
  variables: Record<string, unknown> | undefined;
}

/** A refusal in GraphQL's own terms: its result is ready. */
export class RefusedDocument extends Error {
  readonly result: ExecutionResult;

  constructor(errors: GraphQLFormattedError[]) {
    super("The document was refused.");
    this.result = wireResult(errors);
  }

  static because(message: string, code: GraphQLCode): RefusedDocument {
    return new RefusedDocument([{ message, extensions: { code } }]);
  }
}

/** The operation that a request means. Throws RefusedDocument. */
export function chooseOperation(checked: CheckedDocument, request: SubgraphRequest): Operation {
  if ("errors" in checked) throw new RefusedDocument(checked.errors);
  const operation = getOperationAST(checked.document, request.operationName);
  if (!operation) {
    const message = request.operationName
      ? `The document has no operation named ${JSON.stringify(request.operationName)}.`
      : "The document has several operations: say which by operationName.";
    throw RefusedDocument.because(message, "OPERATION_RESOLUTION_FAILURE");
  }
  return { document: checked.document, type: operation.operation, name: request.operationName, variables: request.variables };
}

/** Runs a query or mutation, or a subscription's operation for one event. Answers JSON primitives only. */
export async function executeOperation(
  schema: GraphQLSchema,
  operation: Operation,
  context: SubgraphContext,
  event?: unknown,
): Promise<ExecutionResult> {
  return toWireResult(await execute({ ...argumentsOf(schema, operation, context), rootValue: event }), context.request.log);
}

/** Calls the subscription field's `subscribe`. */
export async function openSource(schema: GraphQLSchema, operation: Operation, context: SubgraphContext): Promise<Started> {
  const source = await createSourceEventStream(argumentsOf(schema, operation, context));
  if (Symbol.asyncIterator in source) return { events: source[Symbol.asyncIterator]() };
  return { refusal: toWireResult(source, context.request.log) };
}

/** Whatever was thrown before there was anything to execute. */
export function refusedWith(error: unknown, log: Logger): ExecutionResult {
  if (error instanceof RefusedDocument) return error.result;
  const fleetError = FleetError.from(error);
  logMasked(fleetError, log);
  return wireResult([fleetErrorToWire(fleetError)]);
}

function argumentsOf(schema: GraphQLSchema, operation: Operation, context: SubgraphContext): ExecutionArgs {
  return {
    schema,
    document: operation.document,
    operationName: operation.name,
    variableValues: operation.variables,
    contextValue: context,
  };
}

function toWireResult(result: ExecutionResult, log: Logger): ExecutionResult {
  if (!result.errors?.length) return { data: result.data };
  const errors = result.errors.map((error) => executionErrorToWire(error, log));
  return { ...wireResult(errors), ...(result.data === undefined ? {} : { data: result.data }) };
}
