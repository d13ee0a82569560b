import type { Logger } from "../../platform/observability/log.ts";
import { type SimulationCounts, startSimulatedAgent } from "./simulated-agent.ts";
import { SimulatedHost } from "./simulated-host.ts";
import type { SimulatedIdentities } from "./simulated-identities.ts";

export interface SimulationOptions {
  nodes: number;
  /** Of the hostnames. */
  prefix: string;
  /** Agents that join or register at the same time while the simulation starts. */
  concurrency: number;
  stateDir: string;
  identities: SimulatedIdentities;
  /** host:port. */
  controlPlane: string;
  log: Logger;
  signal: AbortSignal;
}

const REPORT_MS = 10_000;

/**
 * Starts many agents, a few at a time, and resolves when all their nodes are registered. `ended` settles after the signal, when all are gone.
 * Throws what the control plane answers where it refuses an agent.
 */
export async function startSimulation(options: SimulationOptions): Promise<{ counts: SimulationCounts; ended: Promise<void> }> {
  const { nodes, prefix, concurrency, log, signal } = options;
  const counts: SimulationCounts = { joined: 0, registrations: 0, heartbeats: 0, renewals: 0 };
  const ending: Array<Promise<void>> = [];
  // One signal for thousands of agents would be searched through at each of their calls.
  const agents: AbortController[] = [];
  const abortAll = () => {
    for (const agent of agents) agent.abort();
  };
  signal.addEventListener("abort", abortAll, { once: true });
  let next = 1;
  const worker = async () => {
    while (next <= nodes && !signal.aborted) {
      const host = new SimulatedHost(prefix, next++);
      const agent = new AbortController();
      agents.push(agent);
      const { ended } = await startSimulatedAgent({ ...options, host, counts, signal: agent.signal });
      ending.push(ended);
    }
  };
  const report = setInterval(() => log.info({ nodes, ...counts }, "simulated agents"), REPORT_MS);
  signal.addEventListener("abort", () => clearInterval(report), { once: true });
  const startedAt = performance.now();
  try {
    await Promise.all(Array.from({ length: Math.min(concurrency, nodes) }, worker));
    await options.identities.close();
  } catch (error) {
    clearInterval(report);
    next = nodes + 1;
    abortAll();
    await Promise.allSettled(ending);
    throw error;
  }
  log.info({ nodes, ...counts, seconds: Math.round((performance.now() - startedAt) / 1000) }, "all simulated agents are registered");
  return { counts, ended: Promise.allSettled(ending).then(() => undefined) };
}
