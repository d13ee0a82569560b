import { buildSubgraphSchema } from "@apollo/subgraph";
import { type GraphQLSchema, parse } from "graphql";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";

/** The subgraph that knows what is in a host. */
export class HardwareSubgraph {
  readonly name = "hardware";
  readonly sdl = `
    extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])
    type Host @key(fields: "id") { id: ID! cpu: Cpu serial: String! failing: String fans(at: Int! = 1): Int }
    type Cpu { model: String! cores: Int! }
    type Query { cpuModels: [String!]! }
  `;
  /** Calls of the entity resolver, one per representation. */
  resolved = 0;
  readonly seen: { requestId: string; subject: string | null }[] = [];
  /** Hosts that it knows nothing of. */
  readonly unknown = new Set<string>();
  /** Hosts whose entity cannot be had. */
  readonly failing = new Set<string>();

  get schema(): GraphQLSchema {
    const resolvers = {
      Query: { cpuModels: () => ["Xeon"] },
      Host: {
        __resolveReference: async ({ id }: { id: string }, { request }: { request: RequestContext }) => {
          this.resolved += 1;
          this.seen.push({ requestId: request.requestId, subject: request.identity?.kind === "user" ? request.identity.subject : null });
          if (this.failing.has(id)) throw new FleetError("UNAVAILABLE", "The host is off.", { reason: "HostOff", details: { id } });
          return this.unknown.has(id) ? null : { id };
        },
        cpu: ({ id }: { id: string }) => ({ model: `cpu-of-${id}`, cores: 8 }),
        serial: ({ id }: { id: string }) => `serial-of-${id}`,
        failing: () => {
          throw new FleetError("DEADLINE_EXCEEDED", "The sensor did not answer.");
        },
        fans: (_: unknown, { at }: { at: number }) => at * 2,
      },
    };
    return buildSubgraphSchema([{ typeDefs: parse(this.sdl), resolvers: resolvers as never }]);
  }
}
