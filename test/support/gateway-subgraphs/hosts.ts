import { buildSubgraphSchema } from "@apollo/subgraph";
import { type GraphQLSchema, parse } from "graphql";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { Journal } from "./journal.ts";

export interface Host {
  id: string;
  name: string;
  zone: string;
  /** Counts the host's changes. */
  revision: number;
}

interface Context {
  request: RequestContext;
}

export const hostsSdl = `
  extend schema
    @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable", "@composeDirective"])
    @link(url: "https://fleetgraph.dev/specs/resumable/v1.0", import: ["@resumable"])
    @composeDirective(name: "@resumable")
  directive @resumable(after: String! = "after", snapshot: String! = "snapshot", cursor: String! = "cursor", type: String! = "type") on FIELD_DEFINITION
  enum EventType { ADDED MODIFIED DELETED BOOKMARK }
  interface Named { name: String! }
  type Host implements Named @key(fields: "id") { id: ID! name: String! zone: String! revision: Int! broken: String }
  type Zone implements Named { name: String! hosts: [Host!]! }
  union Thing = Host | Zone
  type HostEvent { type: EventType! cursor: String! host: Host about: [Thing!]! }
  type Tick { number: Int! host: Host }
  type Query { hosts(zone: String): [Host!]! host(id: ID!): Host things: [Thing!]! named: [Named!]! stuck: String }
  type Mutation { renameHost(id: ID!, name: String!): Host! }
  type Subscription {
    hostEvents(ids: [ID!], zone: String, after: String, snapshot: Boolean): HostEvent! @resumable
    ticks(count: Int!, hostId: ID): Tick!
    quiet: Tick!
  }
`;

/** The subgraph that owns hosts and tells what happens to them. */
export class HostsSubgraph {
  readonly name = "hosts";
  readonly sdl = hostsSdl;
  readonly hosts = new Map<string, Host>();
  readonly journal: Journal<Host>;
  /** Open sources of `quiet`, which never brings anything. */
  quietSources = 0;
  /** Events that `ticks` were asked for, over all who watch. */
  ticked = 0;
  /** Open sources of `ticks`. */
  ticking = 0;
  /** Queries of `stuck` that were cancelled. */
  cancelled = 0;
  readonly seen: { requestId: string; subject: string | null }[] = [];

  constructor(options: { bookmarkMs?: number } = {}) {
    this.journal = new Journal(options);
  }

  get schema(): GraphQLSchema {
    return buildSubgraphSchema([{ typeDefs: parse(this.sdl), resolvers: this.#resolvers() as never }]);
  }

  /** Adds or changes a host. */
  put(id: string, zone = "a"): Host {
    const known = this.hosts.get(id);
    const host = { id, name: known?.name ?? `name-of-${id}`, zone: known?.zone ?? zone, revision: (known?.revision ?? 0) + 1 };
    this.hosts.set(id, host);
    this.journal.append(known ? "MODIFIED" : "ADDED", id, host);
    return host;
  }

  remove(id: string): void {
    const host = this.hosts.get(id);
    if (!host) return;
    this.hosts.delete(id);
    this.journal.append("DELETED", id, host);
  }

  #note({ request: { requestId, identity } }: Context): void {
    if (identity === null) throw new FleetError("UNAUTHENTICATED", "A token is needed.");
    this.seen.push({ requestId, subject: identity.kind === "user" ? identity.subject : null });
  }

  #resolvers(): unknown {
    const everything = () => [...this.hosts.values()].map((host) => ({ __typename: "Host", ...host }));
    const zone = () => ({ __typename: "Zone", name: "zone-a", hosts: [...this.hosts.values()] });
    return {
      Query: {
        hosts: (_: unknown, args: { zone?: string }, context: Context) => {
          this.#note(context);
          return [...this.hosts.values()].filter((host) => !args.zone || host.zone === args.zone);
        },
        host: (_: unknown, { id }: { id: string }, context: Context) => {
          this.#note(context);
          return this.hosts.get(id) ?? null;
        },
        things: () => [zone(), ...everything()],
        named: () => [...everything(), zone()],
        stuck: (_: unknown, _args: unknown, { request }: Context) =>
          new Promise((_resolve, reject) => {
            request.signal.addEventListener("abort", () => {
              this.cancelled += 1;
              reject(request.signal.reason);
            });
          }),
      },
      Mutation: {
        renameHost: (_: unknown, { id, name }: { id: string; name: string }, context: Context) => {
          this.#note(context);
          const host = this.hosts.get(id);
          if (!host) throw new FleetError("NOT_FOUND", "No such host.", { reason: "NoSuchHost", details: { kind: "Host", id } });
          host.name = name;
          return this.put(id);
        },
      },
      Host: {
        __resolveReference: ({ id }: { id: string }) => this.hosts.get(id) ?? null,
        broken: () => {
          throw new FleetError("FAILED_PRECONDITION", "The host is broken.", { reason: "Broken", details: { part: "fan" } });
        },
      },
      Subscription: {
        hostEvents: {
          subscribe: (_: unknown, args: HostEventsArgs, context: Context) => {
            this.#note(context);
            return this.journal.watch({
              after: args.after,
              snapshot: args.snapshot,
              matches: ({ id, zone: of }) => (!args.ids || args.ids.includes(id)) && (!args.zone || args.zone === of),
            });
          },
          resolve: (event: { type: string; cursor: string; object: Host | null }) => ({
            type: event.type,
            cursor: event.cursor,
            host: event.object,
            about: event.object ? [zone(), { __typename: "Host", ...event.object }] : [],
          }),
        },
        ticks: {
          subscribe: (_: unknown, { count, hostId }: { count: number; hostId?: string }) => this.#ticks(count, hostId),
          resolve: ({ number, hostId }: { number: number; hostId?: string }) => ({ number, host: hostId ? this.hosts.get(hostId) : null }),
        },
        quiet: { subscribe: () => this.#quiet() },
      },
    };
  }

  async *#ticks(count: number, hostId: string | undefined) {
    this.ticking += 1;
    try {
      for (let number = 1; number <= count; number += 1) {
        this.ticked += 1;
        yield { number, hostId };
      }
    } finally {
      this.ticking -= 1;
    }
  }

  #quiet(): AsyncIterableIterator<never> {
    const { promise, resolve } = Promise.withResolvers<IteratorResult<never>>();
    this.quietSources += 1;
    return {
      [Symbol.asyncIterator]() {
        return this;
      },
      next: () => promise,
      return: async () => {
        this.quietSources -= 1;
        resolve({ done: true, value: undefined });
        return { done: true, value: undefined };
      },
    };
  }
}

interface HostEventsArgs {
  ids?: string[];
  zone?: string;
  after?: string;
  snapshot?: boolean;
}
