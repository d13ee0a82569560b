import { type DocumentNode, GraphQLError, type GraphQLFormattedError, type GraphQLSchema, parse, validate } from "graphql";
import { LRUCache } from "lru-cache";
import { graphqlErrorToWire } from "./errors.ts";

export interface DocumentLimits {
  /** Documents that are remembered. */
  documents: number;
  /** Of one document; beyond it parsing stops. */
  tokens: number;
  /** Documents longer than this (characters) are not remembered. */
  rememberedLength: number;
}

export const DOCUMENT_LIMITS: DocumentLimits = { documents: 1000, tokens: 20_000, rememberedLength: 64 * 1024 };

/** A document that may be executed, or why it may not. */
export type CheckedDocument = { document: DocumentNode } | { errors: GraphQLFormattedError[] };

/** Parses and validates each document once. Refusals are remembered too: a client that repeats a bad document stays cheap. */
export class Documents {
  readonly #schema: GraphQLSchema;
  readonly #limits: DocumentLimits;
  readonly #known: LRUCache<string, CheckedDocument>;

  constructor(schema: GraphQLSchema, limits: DocumentLimits = DOCUMENT_LIMITS) {
    this.#schema = schema;
    this.#limits = limits;
    this.#known = new LRUCache({ max: limits.documents });
  }

  get(query: string): CheckedDocument {
    const known = this.#known.get(query);
    if (known) return known;
    const checked = this.#check(query);
    if (query.length <= this.#limits.rememberedLength) this.#known.set(query, checked);
    return checked;
  }

  #check(query: string): CheckedDocument {
    let document: DocumentNode;
    try {
      document = parse(query, { maxTokens: this.#limits.tokens });
    } catch (error) {
      if (!(error instanceof GraphQLError)) throw error;
      return { errors: [graphqlErrorToWire(error, "GRAPHQL_PARSE_FAILED")] };
    }
    const errors = validate(this.#schema, document, undefined, { maxErrors: 20 });
    return errors.length > 0 ? { errors: errors.map((error) => graphqlErrorToWire(error, "GRAPHQL_VALIDATION_FAILED")) } : { document };
  }
}
