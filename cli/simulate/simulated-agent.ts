import { join } from "node:path";
import { CommandRunner } from "../../agent/control-plane/commands.ts";
import { ControlPlaneConnection } from "../../agent/control-plane/connection.ts";
import { NodeSession } from "../../agent/control-plane/node-session.ts";
import { openIdentity } from "../../agent/identity/open-identity.ts";
import { LOCAL_NODE, StateFile } from "../../agent/identity/state-file.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { makePrivateDir } from "../../platform/tls/certificate-files.ts";
import type { SimulatedHost } from "./simulated-host.ts";
import type { SimulationCounts } from "./simulation.ts";

export interface SimulatedAgentOptions {
  host: SimulatedHost;
  /** Of the whole simulation: each agent has a folder in it. */
  stateDir: string;
  joinToken: () => Promise<string>;
  controlPlane: string | undefined;
  counts: SimulationCounts;
  log: Logger;
  signal: AbortSignal;
}

/**
 * An agent as on a real host (its own key, certificate and connection, the same session), but for the host. Resolves once its node is
 * registered; then it reports until the signal aborts. `ended` settles when it has let go of everything.
 * Throws where the control plane refuses it.
 */
export async function startSimulatedAgent(options: SimulatedAgentOptions): Promise<{ ended: Promise<void> }> {
  const { host, joinToken, controlPlane, counts, signal } = options;
  const stateDir = join(options.stateDir, host.hostname);
  await makePrivateDir(stateDir);
  const state = await StateFile.open(stateDir);
  // Thousands of lines per second would say nothing: what happens is counted.
  const log = options.log.child({}, { level: "error" });
  const identity = await openIdentity({ stateDir, joinToken, controlPlane, log, signal }, state);
  counts.joined += 1;
  const connection = new ControlPlaneConnection(identity.controlPlane, identity.credentials.caPem, identity.credentials);
  const session = new NodeSession({
    connection,
    reporter: {
      describe: async () => host.description(),
      conditions: async () => host.conditions(),
      allocated: async () => host.allocated(),
      observeClock: () => {
        counts.heartbeats += 1;
      },
    },
    commands: new CommandRunner(state, new Map(), log),
    nodeId: state.nodeId(LOCAL_NODE),
    onRegistered: async ({ nodeId }) => {
      counts.registrations += 1;
      if (state.nodeId(LOCAL_NODE) !== nodeId) await state.setNode(LOCAL_NODE, nodeId);
    },
    log,
  });
  const ended = session.run(signal).finally(() => connection.close());
  await session.registered;
  return { ended };
}
