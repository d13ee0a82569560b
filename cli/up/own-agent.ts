import { setTimeout as sleep } from "node:timers/promises";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { ClustersSubgraph } from "../../subgraphs/clusters/main.ts";
import { formatJoinToken } from "../parts/join-token.ts";
import { startLocalAgent } from "../parts/local-agent.ts";
import type { ProcessContext } from "../process/run-process.ts";
import { StartError } from "../process/start-error.ts";

export interface OwnAgentOptions {
  clusters: ClustersSubgraph;
  caFingerprint: string;
  /** host:port of the control plane, in this process. */
  address: string;
}

/** How long the start of everything waits for the agent. */
const WAIT_MS = 3000;
const JOIN_TTL_SECONDS = 600;

/**
 * Starts this machine's agent, which joins by itself, and says in a few words how that went. A host that is refused does not keep the
 * graph from being served. Throws StartError where the agent's port cannot be opened.
 */
export async function startOwnAgent(context: ProcessContext, { clusters, caFingerprint, address }: OwnAgentOptions): Promise<string> {
  const { log, lifecycle } = context;
  const starting = startLocalAgent(context, {
    controlPlane: address,
    joinToken: async () => {
      const { id, secret } = await clusters.services.enrollment.createJoinToken({ ttlSeconds: JOIN_TTL_SECONDS, uses: 1 });
      return formatJoinToken({ id, secret, caFingerprint, address });
    },
    signal: lifecycle.stopping,
  });
  const waited = new AbortController();
  try {
    const agent = await Promise.race([starting, sleep(WAIT_MS, null, { signal: waited.signal })]);
    if (agent !== null) return `is node ${agent.nodeIds.join(", ")}`;
    starting.catch((error: unknown) => {
      if (!lifecycle.stopping.aborted) log.error({ err: error }, "the agent of this machine did not start");
    });
    return "joins in the background";
  } catch (error) {
    if (error instanceof StartError) throw error;
    log.error({ err: error }, "the agent of this machine did not start");
    return `is not in the graph: ${FleetError.from(error).message}`;
  } finally {
    waited.abort();
    starting.catch(() => undefined);
  }
}
