import "reflect-metadata";
import { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { Arg, Ctx, Directive, Field, ID, Int, Mutation, ObjectType, Query, Resolver, Root, Subscription } from "type-graphql";
import { requireRole } from "../../platform/auth/identity.ts";
import type { TokenVerifier } from "../../platform/auth/jwt.ts";
import { FleetError, invalidArgument } from "../../platform/errors/fleet-error.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { Metrics } from "../../platform/observability/metrics.ts";
import { buildSubgraph, type SubgraphSchema } from "../../subgraphs/kit/graphql/build-subgraph.ts";
import type { SubgraphContext } from "../../subgraphs/kit/graphql/context.ts";
import { createSubgraphHandler, type HandlerLimits } from "../../subgraphs/kit/graphql/handler.ts";
import { RESUMABLE } from "../../subgraphs/kit/graphql/resumable.ts";
import { DateTime, Int64 } from "../../subgraphs/kit/graphql/scalars.ts";
import { WatchEventFields } from "../../subgraphs/kit/graphql/shared-types.ts";
import { toWatchStream, type WatchedEvent } from "../../subgraphs/kit/graphql/watch-stream.ts";

/** A subgraph that does what its arguments say: for tests of what lies around resolvers. */

@ObjectType({ simpleResolvers: true })
@Directive('@key(fields: "id")')
export class Thing {
  @Field(() => ID)
  id!: string;

  @Field(() => Int64)
  sizeBytes!: number | bigint;

  @Field(() => DateTime)
  at!: Date;

  @Field(() => String, { nullable: true })
  broken?: string | null;
}

@ObjectType({ simpleResolvers: true })
export class ThingEvent extends WatchEventFields {
  @Field(() => Thing, { nullable: true })
  thing!: Thing | null;
}

/** Events that a test hands out, one source per subscription. */
export class ManualSource implements AsyncIterableIterator<WatchedEvent<Thing>> {
  returned = 0;
  signal: AbortSignal;
  readonly #events: WatchedEvent<Thing>[] = [];
  #waiting: ((result: IteratorResult<WatchedEvent<Thing>>) => void) | null = null;
  #failure: FleetError | null = null;
  pulled = 0;

  constructor(signal: AbortSignal) {
    this.signal = signal;
  }

  push(event: WatchedEvent<Thing>): void {
    if (this.#waiting) {
      this.#waiting({ done: false, value: event });
      this.#waiting = null;
    } else this.#events.push(event);
  }

  fail(error: FleetError): void {
    this.#failure = error;
  }

  async next(): Promise<IteratorResult<WatchedEvent<Thing>>> {
    this.pulled += 1;
    const value = this.#events.shift();
    if (value) return { done: false, value };
    if (this.#failure) throw this.#failure;
    return new Promise((resolve) => {
      this.#waiting = resolve;
    });
  }

  async return(): Promise<IteratorResult<WatchedEvent<Thing>>> {
    this.returned += 1;
    this.#waiting?.({ done: true, value: undefined });
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** What the resolvers saw. */
export class Probe {
  readonly sources: ManualSource[] = [];
  readonly aborted: unknown[] = [];
  readonly requestIds: string[] = [];
  contexts = 0;
}

interface EchoContext extends SubgraphContext {
  probe: Probe;
}

export function thing(id: string): Thing {
  return { id, sizeBytes: 2n ** 40n, at: new Date("2026-01-02T03:04:05.678Z") };
}

@Resolver(() => Thing)
class EchoResolver {
  @Query(() => Thing, { nullable: true })
  thing(@Arg("id", () => ID) id: string, @Ctx() { request, probe }: EchoContext): Thing {
    requireRole(request.identity, "viewer");
    probe.requestIds.push(request.requestId);
    return thing(id);
  }

  @Query(() => Int64)
  echo(
    @Arg("number", () => Int64) number: number,
    @Arg("time", () => DateTime, { nullable: true }) time: Date | null,
    @Arg("count", () => Int, { nullable: true }) count: number | null,
  ): number {
    return number + (time === null || time === undefined ? 0 : time.getTime()) + (count ?? 0);
  }

  @Query(() => [Thing], { nullable: "items" })
  partial(): Array<Thing | Error> {
    return [
      thing("a"),
      new FleetError("UNAVAILABLE", "The host of b is away.", { reason: "NodeOffline", details: { id: "b" } }),
      thing("c"),
    ];
  }

  @Query(() => String, { nullable: true })
  bug(): string {
    throw new TypeError("secret /etc/path of 10.0.0.7");
  }

  @Query(() => String)
  nonNull(): string {
    return null as never;
  }

  @Query(() => String, { nullable: true })
  async slow(@Arg("ms", () => Int) ms: number, @Ctx() { request, probe }: EchoContext): Promise<string> {
    request.signal.addEventListener("abort", () => probe.aborted.push(request.signal.reason), { once: true });
    await delay(ms, undefined, { signal: request.signal });
    return "done";
  }

  @Mutation(() => Thing)
  makeThing(@Arg("id", () => ID) id: string, @Ctx() { request }: EchoContext): Thing {
    requireRole(request.identity, "admin");
    if (id === "") throw invalidArgument("id", "id must not be empty.");
    return thing(id);
  }

  @Directive(RESUMABLE)
  @Subscription(() => ThingEvent, {
    subscribe: ({ context }: { context: EchoContext }) => {
      requireRole(context.request.identity, "viewer");
      const source = new ManualSource(context.request.signal);
      context.probe.sources.push(source);
      return toWatchStream(source, (object) => ({ thing: object }));
    },
  })
  thingEvents(@Arg("after", () => String, { nullable: true }) _after: string | null, @Root() event: ThingEvent): ThingEvent {
    return event;
  }
}

const references = { Thing: ({ id }: { id: string }) => (id === "gone" ? null : thing(id)) };

export function echoSchema(): SubgraphSchema {
  return buildSubgraph({ resolvers: [EchoResolver], references });
}

export function createEchoSubgraph(verifier: TokenVerifier, limits: Partial<HandlerLimits> = {}) {
  const probe = new Probe();
  const metrics = new Metrics();
  const logged: string[] = [];
  const destination = new Writable({
    write(line, _encoding, done) {
      logged.push(String(line));
      done();
    },
  });
  const log = createLogger({ name: "echo", level: "error", destination });
  const handler = createSubgraphHandler<EchoContext>({
    name: "echo",
    schema: echoSchema().schema,
    verifier,
    log,
    metrics,
    limits,
    createContext: (request) => {
      probe.contexts += 1;
      return { request, probe };
    },
  });
  return { handler, probe, metrics, log, logged };
}
