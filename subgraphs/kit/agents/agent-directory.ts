import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { ChannelLease } from "../../../platform/grpc/channel-pool.ts";
import type { Logger } from "../../../platform/observability/log.ts";
import type { Metrics } from "../../../platform/observability/metrics.ts";
import type { RequestContext } from "../../../platform/request-context.ts";
import { ClusterServiceDefinition, type NodeEvent } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { EventType } from "../../../schema/generated/proto/hypervisor/v1/common.ts";
import { type NodeRecord, nodeRecord } from "./node-record.ts";

export interface AgentDirectoryOptions {
  /** A connection to ClusterService, as the control plane. Asked for each watch, so that a renewed certificate is taken then. */
  clusters: () => ChannelLease | Promise<ChannelLease>;
  log: Logger;
  metrics: Metrics;
  /** The first and the longest pause before watching again, in milliseconds, varied by half; 200 and 10,000 by default. */
  pauseMs?: { first: number; longest: number };
}

export interface DirectoryListener {
  /** The node is new, or something about it is: whether it is heard of, where its agent is, what it may take. */
  onChanged?(record: NodeRecord, before: NodeRecord | undefined): void;
  /** The node was deregistered or deleted. */
  onGone?(nodeId: string): void;
  /** All nodes are known, after a start or after the cursor had expired: those that are not in the directory no longer exist. */
  onSnapshot?(): void;
}

const LOOK_UP_MS = 2000;

/**
 * All nodes, as ClusterService.WatchNodes tells them: a snapshot first, then changes. When the stream is lost it goes on behind its
 * cursor, with pauses that grow; until then it answers with what it knew. A cursor that is too old begins a new snapshot.
 */
export class AgentDirectory {
  readonly #options: AgentDirectoryOptions;
  readonly #nodes = new Map<string, NodeRecord>();
  readonly #listeners = new Set<DirectoryListener>();
  /** Who waits for a node to be told. */
  readonly #waiting = new Map<string, Set<() => void>>();
  readonly #synced = Promise.withResolvers<void>();
  readonly #stopping = new AbortController();
  readonly #connected;
  #running: Promise<void> | null = null;
  #cursor = "";
  /** Ids that the snapshot under way has named; null once it is complete. */
  #snapshot: Set<string> | null = new Set();
  #isSynced = false;
  #isLost = false;

  constructor(options: AgentDirectoryOptions) {
    this.#options = options;
    this.#connected = options.metrics.gauge("fleetgraph_agent_directory_connected", "1 while the nodes are being watched.");
    options.metrics.gauge("fleetgraph_agent_directory_nodes", "Nodes that are known.", [], (gauge) => gauge.set(this.#nodes.size));
  }

  /** Whether every node has been seen once. */
  get synced(): boolean {
    return this.#isSynced;
  }

  get size(): number {
    return this.#nodes.size;
  }

  get(nodeId: string): NodeRecord | undefined {
    return this.#nodes.get(nodeId);
  }

  /** The node, once the watch has told of it; undefined where it has not within the time. For a caller who knows that it must be new. */
  async whenKnown(nodeId: string, withinMs: number, signal: AbortSignal): Promise<NodeRecord | undefined> {
    if (this.#nodes.has(nodeId) || signal.aborted) return this.#nodes.get(nodeId);
    const waiting = this.#waiting.get(nodeId) ?? new Set();
    this.#waiting.set(nodeId, waiting);
    const told = Promise.withResolvers<void>();
    const timer = setTimeout(told.resolve, withinMs);
    waiting.add(told.resolve);
    signal.addEventListener("abort", () => told.resolve(), { once: true });
    await told.promise;
    clearTimeout(timer);
    waiting.delete(told.resolve);
    if (waiting.size === 0) this.#waiting.delete(nodeId);
    return this.#nodes.get(nodeId);
  }

  /**
   * The node as ClusterService knows it now: for a node that the watch may not have told of yet, or whose agent seems to have changed.
   * Null where there is none, or it was deregistered. Throws UNAVAILABLE, DEADLINE_EXCEEDED.
   */
  async lookUp(nodeId: string, ctx: Pick<RequestContext, "requestId" | "deadlineAt" | "signal">): Promise<NodeRecord | null> {
    using lease = await this.#options.clusters();
    try {
      const node = await lease.client(ClusterServiceDefinition).getNode({ nodeId }, { context: ctx, deadlineMs: LOOK_UP_MS });
      return node.deregistered ? null : nodeRecord(node);
    } catch (error) {
      if (FleetError.from(error).code === "NOT_FOUND") return null;
      throw error;
    }
  }

  nodeIds(): IterableIterator<string> {
    return this.#nodes.keys();
  }

  /** Resolves after the first snapshot; never, where ClusterService is never reached. */
  untilSynced(): Promise<void> {
    return this.#synced.promise;
  }

  /** Returns an undo. A listener must not throw. */
  listen(listener: DirectoryListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Begins to watch, in the background. */
  start(): void {
    this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { first, longest } = this.#options.pauseMs ?? { first: 200, longest: 10_000 };
    let pause = first;
    while (!signal.aborted) {
      try {
        await this.#watch(() => {
          pause = first;
        });
      } catch (error) {
        if (signal.aborted) break;
        this.#failed(FleetError.from(error), pause);
      }
      this.#connected.set(0);
      await sleep(pause * (0.5 + Math.random() / 2), signal);
      pause = Math.min(longest, pause * 2);
    }
    this.#connected.set(0);
  }

  async #watch(onEvent: () => void): Promise<void> {
    const resumed = this.#cursor !== "";
    if (!resumed) this.#snapshot = new Set();
    using lease = await untilAborted(Promise.resolve(this.#options.clusters()), this.#stopping.signal);
    const events = lease
      .client(ClusterServiceDefinition)
      .watchNodes({ after: this.#cursor, snapshot: !resumed, bookmarks: true }, { signal: this.#stopping.signal });
    for await (const event of events) {
      this.#connected.set(1);
      this.#isLost = false;
      onEvent();
      this.#apply(event);
    }
  }

  #apply({ eventType, node, cursor }: NodeEvent): void {
    if (eventType === EventType.BOOKMARK) this.#completeSnapshot();
    else if (node === undefined) this.#options.log.warn({ eventType }, "a node event without a node");
    else if (eventType === EventType.DELETED) this.#forget(node.id);
    else {
      const before = this.#nodes.get(node.id);
      const record = nodeRecord(node);
      this.#nodes.set(node.id, record);
      this.#snapshot?.add(node.id);
      for (const { onChanged } of this.#listeners) onChanged?.(record, before);
      for (const tell of this.#waiting.get(node.id) ?? []) tell();
    }
    if (cursor !== "") this.#cursor = cursor;
  }

  /** The bookmark behind a snapshot: what it did not name is gone. */
  #completeSnapshot(): void {
    const named = this.#snapshot;
    if (named === null) return;
    this.#snapshot = null;
    for (const nodeId of [...this.#nodes.keys()]) if (!named.has(nodeId)) this.#forget(nodeId);
    this.#isSynced = true;
    this.#synced.resolve();
    this.#options.log.info({ nodes: this.#nodes.size }, "nodes are known");
    for (const { onSnapshot } of this.#listeners) onSnapshot?.();
  }

  #forget(nodeId: string): void {
    this.#nodes.delete(nodeId);
    this.#snapshot?.delete(nodeId);
    for (const { onGone } of this.#listeners) onGone?.(nodeId);
  }

  #failed(error: FleetError, pauseMs: number): void {
    if (error.code === "CURSOR_EXPIRED" || error.code === "INVALID_ARGUMENT") this.#cursor = "";
    // One line per outage, and no stack where the other side is only away; how it goes on is in the metrics.
    const isAway = error.code === "UNAVAILABLE" || error.code === "DRAINING" || error.code === "CURSOR_EXPIRED";
    const level = isAway ? "info" : "warn";
    const what = isAway ? { code: error.code } : { err: error };
    this.#options.log[this.#isLost ? "debug" : level]({ ...what, pauseMs }, "the watch of nodes was lost; watching again");
    this.#isLost = true;
  }
}

function sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    if (signal.aborted) done();
    else signal.addEventListener("abort", done, { once: true });
  });
}

/** The promise, or a rejection when the signal aborts first: an address may never be told. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
