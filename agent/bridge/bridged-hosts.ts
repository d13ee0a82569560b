import { setTimeout as sleep } from "node:timers/promises";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { type BridgedHost, BridgeServiceDefinition } from "../../schema/generated/proto/hypervisor/v1/bridge.ts";
import type { AgentNode } from "../agent-node.ts";
import { Backoff, jittered, pause } from "../control-plane/backoff.ts";
import type { ControlPlaneConnection } from "../control-plane/connection.ts";
import { reactionTo } from "../control-plane/refusals.ts";
import type { BridgedNode } from "./bridged-node.ts";

export interface BridgedHostsOptions {
  connection: ControlPlaneConnection;
  /** Of this agent's own machine; null until it has one. */
  nodeId: () => string | null;
  open: (host: BridgedHost) => BridgedNode;
  log: Logger;
}

const BACKOFF = { firstMs: 1000, longestMs: 15_000 };
const REFUSED_PAUSE_MS = 60_000;
/** The control plane repeats the list more often than that: one that does not is asked anew. */
const SILENCE_MS = 90_000;
const WAIT_FOR_ID_MS = 1000;

interface Running {
  host: BridgedHost;
  node: BridgedNode;
  stopping: AbortController;
  done: Promise<void>;
}

/** The hosts without an agent that the control plane lets this agent stand for. What is no longer listed is given up. */
export class BridgedHosts {
  readonly #options: BridgedHostsOptions;
  readonly #running = new Map<string, Running>();
  readonly #backoff = new Backoff(BACKOFF);

  constructor(options: BridgedHostsOptions) {
    this.#options = options;
  }

  /** The node that stands for a host; null where this agent does not, or may not at the moment. */
  find(nodeId: string): AgentNode | null {
    return this.#running.get(nodeId)?.node.current ?? null;
  }

  nodeIds(): string[] {
    return [...this.#running.keys()];
  }

  /** Works until the signal aborts; never throws. The loss of the list alone gives nothing up: leases do that. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#follow(signal);
        await pause(this.#backoff.next(), signal);
      } catch (thrown) {
        if (signal.aborted) break;
        const error = FleetError.from(thrown);
        this.#options.log.info({ code: error.code, reason: error.reason }, "the list of bridged hosts is not followed; trying again");
        await pause(reactionTo(error) === "wait" ? jittered(REFUSED_PAUSE_MS, 0.5) : this.#backoff.next(), signal);
      }
    }
    await Promise.all([...this.#running.keys()].map((nodeId) => this.#stop(nodeId, false)));
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { connection, nodeId } = this.#options;
    const ownNode = nodeId();
    if (ownNode === null) return void (await sleep(WAIT_FOR_ID_MS, undefined, { signal }));
    const link = connection.linkFor(BridgeServiceDefinition.fullName);
    const silence = new Silence(SILENCE_MS);
    try {
      const lists = link.bridge.watchBridgedHosts(
        { nodeId: ownNode, willing: true },
        { signal: AbortSignal.any([signal, silence.signal]) },
      );
      for await (const { hosts } of lists) {
        silence.broken();
        this.#backoff.reset();
        await this.#apply(hosts);
      }
    } catch (error) {
      connection.failed(link, FleetError.from(error));
      throw error;
    } finally {
      silence.end();
    }
  }

  async #apply(hosts: readonly BridgedHost[]): Promise<void> {
    const listed = new Map(hosts.map((host) => [host.nodeId, host]));
    const outdated = [...this.#running.values()].filter(({ host }) => listed.get(host.nodeId)?.generation !== host.generation);
    await Promise.all(outdated.map(({ host }) => this.#stop(host.nodeId, !listed.has(host.nodeId))));
    for (const host of hosts) if (!this.#running.has(host.nodeId)) this.#start(host);
  }

  #start(host: BridgedHost): void {
    const { open, log } = this.#options;
    const stopping = new AbortController();
    const node = open(host);
    const done = node.run(stopping.signal);
    this.#running.set(host.nodeId, { host, node, stopping, done });
    log.info({ nodeId: host.nodeId, hostname: host.hostname, generation: host.generation }, "standing for a host without an agent");
  }

  /** `forGood`: it is somebody else's now, and what was kept of it here would be out of date if it came back. */
  async #stop(nodeId: string, forGood: boolean): Promise<void> {
    const running = this.#running.get(nodeId);
    if (running === undefined) return;
    running.stopping.abort(new DOMException("The host is given up.", "AbortError"));
    await running.done;
    this.#running.delete(nodeId);
    if (forGood) await running.node.forget();
    this.#options.log.info({ nodeId, hostname: running.host.hostname, forGood }, "no longer standing for a host");
  }
}

/** Aborts when nothing was heard for a time. */
class Silence {
  readonly #ms: number;
  readonly #over = new AbortController();
  #timer: NodeJS.Timeout;

  constructor(ms: number) {
    this.#ms = ms;
    this.#timer = this.#arm();
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  broken(): void {
    clearTimeout(this.#timer);
    this.#timer = this.#arm();
  }

  end(): void {
    clearTimeout(this.#timer);
  }

  #arm(): NodeJS.Timeout {
    return setTimeout(() => this.#over.abort(new FleetError("UNAVAILABLE", "The control plane is silent.")), this.#ms);
  }
}
