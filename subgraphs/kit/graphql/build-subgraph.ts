import "reflect-metadata";
import { buildSubgraphSchema } from "@apollo/subgraph";
import { printSchemaWithDirectives } from "@graphql-tools/utils";
import { type GraphQLResolveInfo, GraphQLSchema, parse, specifiedDirectives } from "graphql";
import { type BuildSchemaOptions, buildSchemaSync, createResolversMap, type PubSub } from "type-graphql";
import type { SubgraphContext } from "./context.ts";
import { RESUMABLE_DEFINITION, RESUMABLE_SPEC_URL } from "./resumable.ts";
import { DateTime } from "./scalars.ts";

const FEDERATION_URL = "https://specs.apollo.dev/federation/v2.9";

/**
 * Gives the entity that a representation (`{ __typename, …key }`) stands for, or null if there is none.
 * Called once per representation: batch with a DataLoader of the context.
 */
export type ReferenceResolver<C extends SubgraphContext = SubgraphContext> = (
  // biome-ignore lint/suspicious/noExplicitAny: each entity has its own key
  reference: any,
  context: C,
  info: GraphQLResolveInfo,
) => unknown;

export interface SubgraphSchemaOptions<C extends SubgraphContext> {
  /** Classes of type-graphql. */
  resolvers: BuildSchemaOptions["resolvers"];
  /** Object types that no resolver returns: stubs of entities of other subgraphs. */
  orphanedTypes?: NonNullable<BuildSchemaOptions["orphanedTypes"]>;
  /** By the name of the entity. */
  references?: Record<string, ReferenceResolver<C>>;
  /** How an instance of a resolver class is found; without it each class is made once, without arguments. */
  container?: BuildSchemaOptions["container"];
}

export interface SubgraphSchema {
  /** Executable, with `_entities` and `_service`. */
  schema: GraphQLSchema;
  /** What composition reads: the subgraph's own types with its @link, without federation's machinery. */
  sdl: string;
}

/** type-graphql asks for one where there are subscriptions; ours all bring their own `subscribe`. */
const NO_PUB_SUB: PubSub = {
  publish: () => undefined,
  subscribe: () => {
    throw new Error("Subscriptions need a `subscribe` of their own.");
  },
};

/** A federation subgraph from type-graphql's classes. Arguments are validated by the services, alike for GraphQL and gRPC. */
export function buildSubgraph<C extends SubgraphContext = SubgraphContext>(options: SubgraphSchemaOptions<C>): SubgraphSchema {
  const plain = buildSchemaSync({
    resolvers: options.resolvers,
    orphanedTypes: options.orphanedTypes ?? [],
    ...(options.container === undefined ? {} : { container: options.container }),
    scalarsMap: [{ type: Date, scalar: DateTime }],
    directives: [...specifiedDirectives],
    pubSub: NO_PUB_SUB,
    validate: false,
    skipCheck: true,
  });
  const types = printTypes(withoutEmptyQuery(plain));
  const sdl = `${header(types)}\n\n${types}\n`;
  const resolvers = createResolversMap(plain) as Record<string, Record<string, unknown>>;
  for (const [name, resolve] of Object.entries(options.references ?? {})) {
    resolvers[name] = { ...resolvers[name], __resolveReference: resolve };
  }
  // The two maps have the same shape; their declared types differ in how they spell it.
  const schema = buildSubgraphSchema([{ typeDefs: parse(sdl), resolvers: resolvers as never }]);
  return { schema, sdl };
}

/** A subgraph that only adds to others' entities has no queries of its own; type-graphql makes an empty type all the same. */
function withoutEmptyQuery(schema: GraphQLSchema): GraphQLSchema {
  if (Object.keys(schema.getQueryType()?.getFields() ?? {}).length > 0) return schema;
  return new GraphQLSchema({ ...schema.toConfig(), query: null, types: schema.toConfig().types.filter(({ name }) => name !== "Query") });
}

/** Where there are no queries, without the `schema` block, to which federation's own would not be added; the other roots have their usual names. */
function printTypes(schema: GraphQLSchema): string {
  const types = printSchemaWithDirectives(schema);
  return schema.getQueryType() ? types : types.replace(/^schema \{[^}]*\}\s*/m, "");
}

/** Imports only what is used: composition hints at the rest. */
function header(types: string): string {
  const uses = (directive: string) => new RegExp(`${directive}\\b`).test(types);
  const resumable = uses("@resumable");
  const imports = ["@key", "@shareable", "@external", "@requires", "@provides", "@inaccessible"].filter(uses);
  if (resumable) imports.push("@composeDirective");
  const lines = [`extend schema`, `  @link(url: "${FEDERATION_URL}", import: [${imports.map((name) => `"${name}"`).join(", ")}])`];
  if (!resumable) return lines.join("\n");
  lines.push(
    `  @link(url: "${RESUMABLE_SPEC_URL}", import: ["@resumable"])`,
    `  @composeDirective(name: "@resumable")`,
    "",
    RESUMABLE_DEFINITION,
  );
  return lines.join("\n");
}
