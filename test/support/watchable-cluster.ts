import { FleetError, notFound } from "../../platform/errors/fleet-error.ts";
import { Node, type NodeEvent, NodeStatus, type WatchNodesRequest } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { EventType } from "../../schema/generated/proto/hypervisor/v1/common.ts";
import { type ClusterMethods, clusterMethods } from "./cluster-service.ts";

interface Watcher {
  wake: () => void;
  end: FleetError | null;
}

/** A ClusterService whose nodes a test changes: WatchNodes with snapshot, cursors and bookmarks, from a log in memory. */
export class WatchableCluster {
  readonly nodes = new Map<string, Node>();
  readonly requests: WatchNodesRequest[] = [];
  readonly #log: NodeEvent[] = [];
  readonly #watchers = new Set<Watcher>();
  /** Cursors below this have expired. */
  #floor = 0;

  get watchers(): number {
    return this.#watchers.size;
  }

  set(node: Partial<Node> & { id: string }): void {
    const known = this.nodes.get(node.id);
    const full = Node.fromPartial({ hostname: node.id, status: NodeStatus.READY, ...known, ...node });
    this.nodes.set(node.id, full);
    this.#append(known ? EventType.MODIFIED : EventType.ADDED, full);
  }

  delete(id: string): void {
    const node = this.nodes.get(id);
    if (!node) return;
    this.nodes.delete(id);
    this.#append(EventType.DELETED, node);
  }

  /** Ends every watch with this error. */
  cut(error = new FleetError("UNAVAILABLE", "cut")): void {
    for (const watcher of this.#watchers) {
      watcher.end = error;
      watcher.wake();
    }
  }

  expireCursors(): void {
    this.#floor = this.#log.length;
  }

  get methods(): ClusterMethods {
    return clusterMethods({
      watchNodes: (request, { fleet }) => this.#watch(request, fleet.signal),
      getNode: async ({ nodeId }) => {
        const node = this.nodes.get(nodeId);
        if (!node) throw notFound("Node", nodeId);
        return node;
      },
      setMaintenance: async ({ nodeId, maintenance, reason }) => {
        if (!this.nodes.has(nodeId)) throw notFound("Node", nodeId);
        this.set({ id: nodeId, maintenance, maintenanceReason: maintenance ? reason : "" });
        return this.nodes.get(nodeId) as Node;
      },
      deregisterNode: async ({ nodeId }) => {
        this.delete(nodeId);
        return {};
      },
    });
  }

  async *#watch(request: WatchNodesRequest, signal: AbortSignal): AsyncGenerator<NodeEvent> {
    this.requests.push(request);
    let seq = request.after === "" ? this.#log.length : Number(request.after);
    if (request.after !== "" && seq < this.#floor) throw new FleetError("CURSOR_EXPIRED", "too old");
    if (request.snapshot && request.after === "") {
      for (const node of [...this.nodes.values()]) yield event(EventType.ADDED, node, "");
      yield event(EventType.BOOKMARK, undefined, `${seq}`);
    }
    const watcher: Watcher = { wake: () => undefined, end: null };
    this.#watchers.add(watcher);
    try {
      while (!signal.aborted) {
        if (watcher.end) throw watcher.end;
        const next = this.#log[seq];
        if (next) {
          seq += 1;
          yield next;
          continue;
        }
        await new Promise<void>((resolve) => {
          watcher.wake = resolve;
          signal.addEventListener("abort", () => resolve(), { once: true });
        });
      }
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  #append(type: EventType, node: Node): void {
    this.#log.push(event(type, node, `${this.#log.length + 1}`));
    for (const { wake } of this.#watchers) wake();
  }
}

function event(eventType: EventType, node: Node | undefined, cursor: string): NodeEvent {
  return { eventType, node, cursor, timestamp: new Date() };
}
