import { setImmediate as nextTurn } from "node:timers/promises";
import type { ExecutionResult } from "graphql";
import type { Logger } from "../../platform/observability/log.ts";
import { type DataSources, runOperation } from "../execution/executor.ts";
import { forwardedHeaders } from "../execution/request-scope.ts";
import type { GatewayLimits } from "../limits.ts";
import type { GatewayMetrics } from "../metrics.ts";
import { Deadline } from "../transport/deadline.ts";
import type { SubgraphTransport } from "../transport/subgraph-transport.ts";
import { EventRing } from "./event-ring.ts";
import type { EventSink } from "./event-sink.ts";
import { EventStream, type ResolvedEvent } from "./event-stream.ts";
import { Member, type MemberHost } from "./member.ts";
import { StreamEnd } from "./stream-end.ts";
import type { StartPosition, SubscriptionOperation } from "./subscription-operation.ts";
import { type Credentials, Upstream, type UpstreamEvent } from "./upstream.ts";

export interface SharedStreamOptions {
  readonly operation: SubscriptionOperation;
  /** Of the normalised operation. */
  readonly variables: Record<string, unknown>;
  /** To the subgraph that owns the field. */
  readonly transport: SubgraphTransport;
  readonly dataSources: DataSources;
  readonly limits: GatewayLimits;
  readonly metrics: GatewayMetrics;
  readonly log: Logger;
  /** The last client has left. */
  readonly onEmpty: () => void;
}

/** How long events are handed out without letting sockets be read and written. */
const TURN_MS = 5;
const FROM_NOW: StartPosition = { after: null, snapshot: false };

/**
 * One subscription for all clients that ask for the same in the same name: one upstream, each event resolved and serialised once.
 * Clients that start elsewhere than "now" first catch up on upstreams of their own (see Member). A stream that cannot be resumed has one client.
 */
export class SharedStream implements MemberHost {
  readonly ring: EventRing;
  readonly #options: SharedStreamOptions;
  readonly #members = new Set<Member>();
  #stream: EventStream | null = null;

  constructor(options: SharedStreamOptions) {
    this.#options = options;
    this.ring = new EventRing(options.limits.lagMessages, options.limits.lagBytes);
  }

  get running(): boolean {
    return this.#stream !== null;
  }

  join(sink: EventSink, credentials: Credentials, start: StartPosition): Member {
    const member = new Member(this, sink, credentials, this.#options.limits.stallMs);
    this.#members.add(member);
    if (this.#options.operation.resumable === null) {
      // At its client's pace, back to the source: what comes too fast is the source's to hold back or to leave out.
      member.catchUp(this.#open(FROM_NOW), FROM_NOW);
      return member;
    }
    const fromNow = start.after === null && !start.snapshot;
    const known = start.after !== null && !start.snapshot && this.#stream ? this.ring.behind(start.after) : undefined;
    // A single client that catches up needs no second upstream: its own becomes the shared one when it has arrived at the present.
    if (!this.#stream && (fromNow || this.#members.size > 1)) this.#start();
    if (fromNow) member.goLive(this.ring.next);
    else if (known !== undefined) member.goLive(known);
    else member.catchUp(this.#open(start), start);
    return member;
  }

  adopt(stream: EventStream, at: ResolvedEvent, from: Member): boolean {
    if (this.#stream) return false;
    this.ring.breakContinuity();
    this.#stream = stream;
    this.ring.push(at);
    from.goLive(this.ring.next);
    for (const member of this.#members) member.onShared(at);
    void this.#pump(stream);
    return true;
  }

  leave(member: Member): void {
    if (!this.#members.delete(member) || this.#members.size > 0) return;
    this.#stream?.close();
    this.#stream = null;
    this.#options.onEmpty();
  }

  onDelivered(): void {
    this.#options.metrics.deliveries.inc();
  }

  onSpliced(): void {
    this.#options.metrics.splices.inc();
  }

  /** Ends every client's subscription for one reason. */
  end(reason: StreamEnd): void {
    for (const member of [...this.#members]) member.end(reason);
  }

  #start(): void {
    this.ring.breakContinuity();
    this.#stream = this.#open(FROM_NOW);
    void this.#pump(this.#stream);
  }

  async #pump(stream: EventStream): Promise<void> {
    let turnStartedAt = performance.now();
    try {
      for (;;) {
        const event = await stream.next();
        if (this.#stream !== stream) return;
        if (!event) return this.#finish(null);
        this.#publish(event);
        if (performance.now() - turnStartedAt < TURN_MS) continue;
        await nextTurn();
        turnStartedAt = performance.now();
      }
    } catch (error) {
      if (this.#stream === stream) this.#finish(StreamEnd.from(error));
    }
  }

  #publish(event: ResolvedEvent): void {
    this.ring.push(event);
    for (const member of this.#members) {
      member.onShared(event);
      member.flush();
    }
  }

  /** Those who catch up stay: their upstreams are not concerned. */
  #finish(reason: StreamEnd | null): void {
    this.#stream = null;
    for (const member of [...this.#members]) member.onSharedEnd(reason);
  }

  #open(start: StartPosition): EventStream {
    const { operation, transport, limits, metrics, log } = this.#options;
    const upstream = new Upstream({
      subgraph: transport.name,
      resumable: operation.resumable !== null,
      start,
      open: (position, credentials) => this.#subscribe(position, credentials),
      credentials: () => this.#freshest(),
      readEvent: (result) => readEvent(operation, result),
      onResume: () => metrics.resumes.inc({ subgraph: transport.name }),
      openMs: limits.openMs,
      resumeMs: limits.resumeMs,
      log,
    });
    metrics.upstreams.inc();
    return new EventStream(
      upstream,
      (event, signal) => this.#resolve(event, signal),
      limits.eventsInFlight,
      () => metrics.upstreams.dec(),
    );
  }

  #subscribe(position: StartPosition, credentials: Credentials): AsyncIterableIterator<ExecutionResult> {
    const { operation, transport, variables } = this.#options;
    const { upstream, resumable } = operation;
    const given: Record<string, unknown> = {};
    for (const name of upstream.variableUsages ?? []) if (Object.hasOwn(variables, name)) given[name] = variables[name];
    if (resumable && position.after !== null) given[resumable.hidden.after] = position.after;
    if (resumable && position.snapshot) given[resumable.hidden.snapshot] = true;
    return transport.subscribe({
      query: upstream.operation,
      operationName: upstream.operationName,
      variables: given,
      headers: forwardedHeaders(credentials),
    });
  }

  async #resolve({ result, cursor, bookmark }: UpstreamEvent, closed: AbortSignal): Promise<ResolvedEvent> {
    const { operation, variables, dataSources, limits, metrics, log } = this.#options;
    const { token, requestId, identity } = this.#freshest() ?? NOBODY;
    using deadline = new Deadline(limits.eventMs, closed);
    const request = { requestId, identity, token, signal: deadline.signal, deadlineAt: performance.now() + limits.eventMs, log };
    const event = { subgraph: operation.upstream.serviceName, query: operation.upstream.operation, result };
    const answer = await runOperation(operation.prepared, variables, { request, event }, dataSources, operation.eventPlan);
    metrics.events.inc();
    const payload = JSON.stringify(answer);
    return { payload, bytes: Buffer.byteLength(payload), cursor, bookmark };
  }

  /** Of all who share, whose token lives longest. */
  #freshest(): Credentials | null {
    let freshest: Credentials | null = null;
    for (const { credentials } of this.#members) if (!freshest || credentials.expiresAt > freshest.expiresAt) freshest = credentials;
    return freshest;
  }
}

/** For an event that is still being resolved when the last client leaves: nobody will see it. */
const NOBODY: Credentials = { token: null, requestId: "-", identity: null, expiresAt: 0 };

function readEvent({ resumable, responseName }: SubscriptionOperation, result: ExecutionResult): UpstreamEvent {
  const event = resumable && (result.data?.[responseName] as Record<string, unknown> | null | undefined);
  const cursor = event?.[resumable?.hidden.cursor ?? ""];
  return { result, cursor: typeof cursor === "string" ? cursor : null, bookmark: event?.[resumable?.hidden.type ?? ""] === "BOOKMARK" };
}
