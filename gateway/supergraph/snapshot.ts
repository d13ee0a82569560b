import { createHash } from "node:crypto";
import { operationFromDocument, type Schema, Supergraph } from "@apollo/federation-internals";
import { QueryPlanner } from "@apollo/query-planner";
import { type GraphQLSchema, parse, validateSchema } from "graphql";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { findResumableFields, type ResumableField } from "./resumable.ts";

/** All that is derived from one supergraph. Immutable: an operation or an event keeps the one that it started with. */
export interface SupergraphSnapshot {
  /** Digest of the SDL. */
  readonly id: string;
  readonly sdl: string;
  /** What clients see, for graphql-js and for the planner. */
  readonly schema: GraphQLSchema;
  readonly apiSchema: Schema;
  /** With the join directives; the executor looks up types in it. */
  readonly supergraphSchema: GraphQLSchema;
  readonly planner: QueryPlanner;
  readonly subgraphs: readonly { readonly name: string; readonly url: string }[];
  /** By the name of the Subscription field. */
  readonly resumable: ReadonlyMap<string, ResumableField>;
}

/**
 * Reads a supergraph and proves that it can be planned. Throws FAILED_PRECONDITION with the reason;
 * nothing that is in use is touched, so that a bad supergraph can be refused while the old one goes on.
 */
export function readSupergraph(sdl: string): SupergraphSnapshot {
  try {
    const document = parse(sdl);
    const supergraph = Supergraph.build(document, { validateSupergraph: true });
    const apiSchema = supergraph.apiSchema();
    const schema = apiSchema.toGraphQLJSSchema();
    const [fault] = validateSchema(schema);
    if (fault) throw fault;
    const planner = new QueryPlanner(supergraph);
    planner.buildQueryPlan(operationFromDocument(apiSchema, parse("{ __typename }")));
    return Object.freeze({
      id: createHash("sha256").update(sdl).digest("base64url"),
      sdl,
      schema,
      apiSchema,
      supergraphSchema: supergraph.schema.toGraphQLJSSchema(),
      planner,
      subgraphs: supergraph.subgraphsMetadata().map(({ name, url }) => ({ name, url })),
      resumable: findResumableFields(document, schema),
    });
  } catch (error) {
    if (error instanceof FleetError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new FleetError("FAILED_PRECONDITION", `The supergraph cannot be served: ${why}`, { reason: "InvalidSupergraph", cause: error });
  }
}
