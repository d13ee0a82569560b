import { buildSubgraphSchema } from "@apollo/subgraph";
import { type GraphQLSchema, parse } from "graphql";

/** The subgraph that knows where a host stands; it needs the host's zone to say so. */
export class RacksSubgraph {
  readonly name = "racks";
  readonly sdl = `
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@requires", "@external"])
    type Host @key(fields: "id") { id: ID! zone: String! @external rack: Rack @requires(fields: "zone") }
    type Rack @key(fields: "id") { id: ID! row: Int! hosts: [Host!]! }
    type Query { racks: [Rack!]! }
  `;

  get schema(): GraphQLSchema {
    const rack = { id: "rack-1", row: 3, hosts: [{ __typename: "Host", id: "h1" }] };
    const resolvers = {
      Query: { racks: () => [rack] },
      Rack: { __resolveReference: () => rack },
      Host: { rack: ({ zone }: { zone: string }) => ({ ...rack, id: `rack-${zone}` }) },
    };
    return buildSubgraphSchema([{ typeDefs: parse(this.sdl), resolvers: resolvers as never }]);
  }
}
