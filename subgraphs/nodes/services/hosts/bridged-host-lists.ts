import { setTimeout as sleep } from "node:timers/promises";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { RequestContext } from "../../../../platform/request-context.ts";
import type { BridgedHosts } from "../../../../schema/generated/proto/hypervisor/v1/bridge.ts";
import type { AgentDirectory } from "../../../kit/agents/agent-directory.ts";
import { requireAgent, requireOwnNode } from "../../../kit/agents/own-node.ts";
import type { EventLog } from "../../../kit/events/event-log.ts";
import { checkId } from "../../../kit/input-checks.ts";
import type { Store } from "../../../kit/store/orm.ts";
import { BridgedHost } from "../../entities/bridged-host.ts";
import type { BridgeStreams } from "./bridge-streams.ts";
import type { HostSecrets } from "./host-secrets.ts";
import { BRIDGED_HOST_STREAM, type BridgedHostNotice } from "./host-types.ts";

export interface BridgedHostListsParts {
  store: Store;
  log: EventLog;
  directory: AgentDirectory;
  streams: BridgeStreams;
  secrets: HostSecrets;
}

/** An unchanged list is sent again after this. */
const REPEAT_MS = 30_000;
const RETRY_MS = 500;
/** One agent's hosts in one message. */
const MAX_HOSTS = 1_000;
/** The numbers of NodeKind. */
const KINDS = { COMPUTE: 1, STORAGE: 2, HYBRID: 3 } as const satisfies Record<BridgedHost["kind"], number>;

/** Tells each agent which hosts it is to stand for, and how they are reached. */
export class BridgedHostLists {
  readonly #parts: BridgedHostListsParts;
  /** This replica's, by agent; an agent that comes back may have two for a while. */
  readonly #watchers = new Map<string, Set<Watcher>>();

  constructor(parts: BridgedHostListsParts) {
    this.#parts = parts;
    parts.directory.listen({
      // A host's node is new, was admitted again, or is another agent's: the list may have changed.
      onChanged: ({ agentId }, before) => {
        if (before === undefined && agentId !== null) this.#wake(agentId);
      },
      onGone: (nodeId) => {
        for (const watcher of this.#all()) watcher.gone(nodeId);
      },
    });
  }

  /** Wakes this replica's streams when any replica has changed something, until the signal. */
  async run({ signal, log }: RequestContext): Promise<void> {
    while (!signal.aborted) {
      try {
        const after = await this.#parts.log.cursor(BRIDGED_HOST_STREAM);
        for (const watcher of this.#all()) watcher.wake();
        for await (const { object } of this.#parts.log.watch<BridgedHostNotice>(BRIDGED_HOST_STREAM, { after, signal })) {
          for (const agentId of object?.agentIds ?? []) this.#wake(agentId);
        }
      } catch (error) {
        if (!signal.aborted) log.warn({ err: error }, "following changes of bridged hosts was interrupted; trying again");
      }
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  /**
   * The agent's hosts, whole at first and after each change, and now and then unchanged. Rights: the agent of the node, which is of its own
   * machine. Throws FORBIDDEN (NotYourNode), NOT_FOUND, FAILED_PRECONDITION (NodeDeregistered) when that node is taken out of service.
   */
  async *watch(ctx: RequestContext, nodeId: string, willing: boolean): AsyncGenerator<BridgedHosts, void> {
    const { agentId } = requireAgent(ctx.identity);
    await requireOwnNode(this.#parts.directory, ctx, checkId("node_id", nodeId));
    if (await this.#parts.streams.isBridged(nodeId)) {
      throw new FleetError("FAILED_PRECONDITION", "This node is a bridged one: name a node of the agent's own machine.", {
        reason: "BridgedNode",
      });
    }
    const watcher = new Watcher(nodeId);
    const own = this.#watchers.get(agentId) ?? new Set();
    this.#watchers.set(agentId, own.add(watcher));
    let closed: (() => Promise<void>) | null = null;
    try {
      closed = await this.#parts.streams.opened(agentId, nodeId, willing);
      ctx.log.info({ agentId, willing }, "an agent follows its list of hosts");
      while (!ctx.signal.aborted) {
        watcher.look();
        const hosts = willing ? await this.#hostsOf(ctx, agentId) : [];
        watcher.told(hosts.map((host) => host.nodeId));
        yield { hosts };
        await watcher.changed(REPEAT_MS, ctx.signal);
      }
    } finally {
      own.delete(watcher);
      if (own.size === 0 && this.#watchers.get(agentId) === own) this.#watchers.delete(agentId);
      await closed?.();
    }
  }

  #wake(agentId: string): void {
    for (const watcher of this.#watchers.get(agentId) ?? []) watcher.wake();
  }

  *#all(): Generator<Watcher> {
    for (const watchers of this.#watchers.values()) yield* watchers;
  }

  /** Those whose node is in service. Credentials that cannot be opened are logged, and that host is left out. */
  async #hostsOf(ctx: RequestContext, agentId: string): Promise<BridgedHosts["hosts"]> {
    const { store, directory, secrets } = this.#parts;
    const rows = await store.read((em) =>
      em.find(BridgedHost, { agentId, state: "READY" }, { populate: ["sealedCredentials"], orderBy: { id: "asc" }, limit: MAX_HOSTS }),
    );
    const hosts: BridgedHosts["hosts"] = [];
    for (const row of rows) {
      const { nodeId, hostname, generation, kind } = row;
      if (nodeId === null || directory.get(nodeId) === undefined) continue;
      try {
        hosts.push({ nodeId, hostname, generation, kind: KINDS[kind], access: await secrets.access(row) });
      } catch (error) {
        const { code, reason, message } = FleetError.from(error);
        ctx.log.error({ nodeId, hostname, code, reason }, `a host cannot be given to its agent: ${message}`);
      }
    }
    return hosts;
  }
}

/** One agent's stream, between two lists. */
class Watcher {
  /** Of the agent's own machine. */
  readonly #nodeId: string;
  #listed: ReadonlySet<string> = new Set();
  #isOutdated = false;
  #isGone = false;
  #tell: () => void = () => undefined;

  constructor(nodeId: string) {
    this.#nodeId = nodeId;
  }

  wake(): void {
    this.#isOutdated = true;
    this.#tell();
  }

  gone(nodeId: string): void {
    if (nodeId === this.#nodeId) this.#isGone = true;
    if (this.#isGone || this.#listed.has(nodeId)) this.wake();
  }

  /** What comes from now on is for the next list. */
  look(): void {
    this.#isOutdated = false;
  }

  told(nodeIds: readonly string[]): void {
    this.#listed = new Set(nodeIds);
  }

  /** Resolves when there is something to tell, after `ms`, or with the signal. Throws when the agent's own node is out of service. */
  async changed(ms: number, signal: AbortSignal): Promise<void> {
    if (!this.#isOutdated && !signal.aborted) {
      const told = Promise.withResolvers<void>();
      const timer = setTimeout(told.resolve, ms * (0.8 + 0.2 * Math.random()));
      this.#tell = told.resolve;
      signal.addEventListener("abort", this.#tell, { once: true });
      await told.promise;
      signal.removeEventListener("abort", this.#tell);
      clearTimeout(timer);
    }
    if (this.#isGone) {
      throw new FleetError("FAILED_PRECONDITION", "The agent's own node was deregistered: it stands for no host.", {
        reason: "NodeDeregistered",
      });
    }
  }
}
