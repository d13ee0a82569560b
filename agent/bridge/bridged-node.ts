import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { BridgedHost } from "../../schema/generated/proto/hypervisor/v1/bridge.ts";
import { NodeStatus } from "../../schema/generated/proto/hypervisor/v1/cluster.ts";
import type { Resources } from "../../schema/generated/proto/hypervisor/v1/common.ts";
import type { AgentNode, BridgedHostOptions } from "../agent-node.ts";
import { Backoff, jittered, pause } from "../control-plane/backoff.ts";
import type { ControlPlaneConnection } from "../control-plane/connection.ts";
import { reactionTo } from "../control-plane/refusals.ts";
import type { InstanceSettings } from "../instances/node-instances.ts";
import { BridgingLease } from "./bridging-lease.ts";
import type { ReachedHost } from "./reached-host.ts";

export interface BridgedNodeOptions {
  host: BridgedHost;
  connection: ControlPlaneConnection;
  reach: (host: BridgedHost) => ReachedHost;
  /** Makes the node, which takes what it is given over. */
  makeNode: (reached: ReachedHost, instances: InstanceSettings, bridged: Omit<BridgedHostOptions, "nodeId" | "kind">) => AgentNode;
  /** Removes what is kept of it on this machine. */
  forget: () => Promise<void>;
  log: Logger;
}

/** A lease, and what the control plane knows of the host. */
type Granted = BridgedHostOptions["known"] & { lease: BridgingLease };

const BACKOFF = { firstMs: 1000, longestMs: 15_000 };
const REFUSED_PAUSE_MS = 30_000;
/** Until the registration tells how long it is: less than a lease is by any sensible setting. */
const FIRST_LEASE_MS = 14_000;
const NOTHING: Resources = { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 };

/**
 * One host that this agent stands for. Nothing is done on the host without a lease: a heartbeat of its node that the control plane took. When the
 * lease runs out, or the control plane says that the node is another agent's, the way to the host is cut first; then a lease is asked for again.
 */
export class BridgedNode {
  readonly #options: BridgedNodeOptions;
  #current: AgentNode | null = null;

  constructor(options: BridgedNodeOptions) {
    this.#options = options;
  }

  /** Null without a lease. */
  get current(): AgentNode | null {
    return this.#current;
  }

  /** Works until the signal aborts; never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { host, log } = this.#options;
    const backoff = new Backoff(BACKOFF);
    while (!signal.aborted) {
      try {
        const known = await this.#ask(signal);
        backoff.reset();
        await this.#stand(known, signal);
      } catch (thrown) {
        if (signal.aborted) break;
        const error = FleetError.from(thrown);
        log.warn({ nodeId: host.nodeId, code: error.code, reason: error.reason, err: error }, "the host cannot be stood for now");
        await pause(reactionTo(error) === "wait" ? jittered(REFUSED_PAUSE_MS, 0.3) : backoff.next(), signal);
      }
    }
  }

  /** Removes what is kept here: the host is another agent's, and this would be out of date if it came back. */
  async forget(): Promise<void> {
    await this.#options.forget();
  }

  /** Asks for the lease, and for what the control plane knows of the host. Throws FORBIDDEN, NOT_FOUND, UNAVAILABLE. */
  async #ask(signal: AbortSignal): Promise<Granted> {
    const { host, connection } = this.#options;
    const { nodeId } = host;
    const { main } = connection;
    try {
      const node = await main.cluster.getNode({ nodeId }, { signal });
      const lease = new BridgingLease();
      const sentAt = performance.now();
      const { accepted } = await main.cluster.heartbeat(
        {
          nodeId,
          status: NodeStatus.NOT_READY,
          conditions: [
            {
              type: "Ready",
              status: "False",
              reason: "Connecting",
              message: "An agent begins to stand for the host.",
              lastTransitionTime: undefined,
            },
          ],
          allocated: undefined,
          acknowledgedCommandIds: [],
          sentAt: undefined,
        },
        { signal },
      );
      if (!accepted) throw new FleetError("NOT_FOUND", "The control plane does not know the node.");
      lease.renew(sentAt, FIRST_LEASE_MS);
      return { lease, capacity: node.capacity ?? NOTHING, supportedInstanceTypes: node.supportedInstanceTypes };
    } catch (error) {
      connection.failed(main, FleetError.from(error));
      throw error;
    }
  }

  /** Stands for the host until the lease is lost. */
  async #stand({ lease, ...known }: Granted, signal: AbortSignal): Promise<void> {
    const { host, reach, makeNode, log } = this.#options;
    const reached = reach(host);
    // The way is cut before anything else is told: nothing more happens on the host.
    const cut = () => void reached.close();
    lease.lost.addEventListener("abort", cut, { once: true });
    try {
      const node = makeNode(reached, await reached.openInstances(), {
        unreachable: () => reached.unreachable(),
        known,
        onAccepted: (sentAt, leaseTtlMs) => lease.renew(sentAt, leaseTtlMs),
        onRefused: (error) => lease.end(error.message),
      });
      const forget = reached.onChange(() => node.reachedOrLost());
      this.#current = node;
      await node.run(AbortSignal.any([signal, lease.lost]));
      forget();
    } finally {
      this.#current = null;
      lease.lost.removeEventListener("abort", cut);
      await reached.close();
      if (lease.lost.aborted) log.warn({ nodeId: host.nodeId, why: (lease.lost.reason as Error).message }, "gave a host up");
      lease.end("over");
    }
  }
}
