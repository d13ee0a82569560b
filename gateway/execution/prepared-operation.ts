import { operationFromDocument } from "@apollo/federation-internals";
import { buildOperationContext } from "@apollo/gateway";
import type { QueryPlan } from "@apollo/query-planner";
import {
  type DocumentNode,
  GraphQLError,
  getOperationAST,
  getVariableValues,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  validate,
} from "graphql";
import { LRUCache } from "lru-cache";
import type { SupergraphSnapshot } from "../supergraph/snapshot.ts";

type OperationContext = ReturnType<typeof buildOperationContext>;

/** An operation with its plan, good for any variables. */
export interface PreparedOperation {
  readonly snapshot: SupergraphSnapshot;
  readonly context: OperationContext;
  readonly plan: QueryPlan;
}

/** A document that is valid for a snapshot, with the operation that was asked for. */
export interface ValidDocument {
  readonly snapshot: SupergraphSnapshot;
  readonly document: DocumentNode;
  readonly operation: OperationDefinitionNode;
  readonly operationName: string | undefined;
}

/** Text that is remembered per cached operation, on average. What is made of it takes some fifty times as much memory. */
const CACHED_CHARACTERS_PER_OPERATION = 2_048;

/** What is known about operations by their text and name: the valid document, and the plan. Bounded by number and by size of the texts. */
export class OperationCache {
  readonly #snapshot: SupergraphSnapshot;
  readonly #documentTokens: number;
  readonly #documents: LRUCache<string, ValidDocument>;
  readonly #prepared: LRUCache<string, PreparedOperation>;

  constructor(snapshot: SupergraphSnapshot, limits: { cachedOperations: number; documentTokens: number }) {
    this.#snapshot = snapshot;
    this.#documentTokens = limits.documentTokens;
    const bounds = {
      max: limits.cachedOperations,
      maxSize: limits.cachedOperations * CACHED_CHARACTERS_PER_OPERATION,
      sizeCalculation: (_value: object, key: string) => key.length,
    };
    this.#documents = new LRUCache<string, ValidDocument>(bounds);
    this.#prepared = new LRUCache<string, PreparedOperation>(bounds);
  }

  /** Parses and validates. Throws a list of GraphQLErrors with the codes that GraphQL clients know. */
  validate(source: string, operationName: string | undefined): ValidDocument {
    const key = cacheKey(source, operationName);
    const known = this.#documents.get(key);
    if (known) return known;
    const document = parseDocument(source, this.#documentTokens);
    const faults = validate(this.#snapshot.schema, document);
    if (faults.length > 0) throw new InvalidOperation(faults.map((fault) => withCode(fault, "GRAPHQL_VALIDATION_FAILED")));
    const operation = getOperationAST(document, operationName);
    if (!operation) {
      const message =
        operationName === undefined
          ? "The document holds several operations: name one."
          : `Unknown operation named ${JSON.stringify(operationName)}.`;
      throw new InvalidOperation([new GraphQLError(message, { extensions: { code: "OPERATION_RESOLUTION_FAILURE" } })]);
    }
    const valid = { snapshot: this.#snapshot, document, operation, operationName };
    this.#documents.set(key, valid);
    return valid;
  }

  /** The plan of a valid document. */
  prepare(source: string, document: DocumentNode, operationName: string | undefined): PreparedOperation {
    const key = cacheKey(source, operationName);
    const known = this.#prepared.get(key);
    if (known) return known;
    const prepared = planOperation(this.#snapshot, document, operationName);
    this.#prepared.set(key, prepared);
    return prepared;
  }
}

/** What is wrong with an operation before anything was executed. */
export class InvalidOperation extends Error {
  readonly errors: readonly GraphQLError[];

  constructor(errors: readonly GraphQLError[]) {
    super(errors[0]?.message ?? "The operation is not valid.");
    this.errors = errors;
  }
}

export function planOperation(snapshot: SupergraphSnapshot, document: DocumentNode, operationName: string | undefined): PreparedOperation {
  const operation = operationFromDocument(snapshot.apiSchema, document, { operationName, validate: false });
  return {
    snapshot,
    context: buildOperationContext({ schema: snapshot.schema, operationDocument: document, operationName }),
    plan: snapshot.planner.buildQueryPlan(operation),
  };
}

/** The variables as the schema has them, with defaults. Throws InvalidOperation with BAD_USER_INPUT where they do not fit. */
export function coerceVariables(
  snapshot: SupergraphSnapshot,
  operation: OperationDefinitionNode,
  variables: Record<string, unknown> | null | undefined,
): Record<string, unknown> {
  const { coerced, errors } = getVariableValues(snapshot.schema, operation.variableDefinitions ?? [], variables ?? {});
  if (errors) throw new InvalidOperation(errors.map((error) => withCode(error, "BAD_USER_INPUT")));
  return coerced;
}

export function isSubscription(operation: OperationDefinitionNode): boolean {
  return operation.operation === OperationTypeNode.SUBSCRIPTION;
}

function parseDocument(source: string, maxTokens: number): DocumentNode {
  try {
    return parse(source, { maxTokens });
  } catch (error) {
    if (error instanceof GraphQLError) throw new InvalidOperation([withCode(error, "GRAPHQL_PARSE_FAILED")]);
    throw error;
  }
}

function withCode({ message, nodes, source, positions, path }: GraphQLError, code: string): GraphQLError {
  return new GraphQLError(message, { nodes, source, positions, path, extensions: { code } });
}

function cacheKey(source: string, operationName: string | undefined): string {
  return `${operationName ?? ""}\n${source}`;
}
