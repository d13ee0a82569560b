import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { CommandRunner } from "../../agent/control-plane/commands.ts";
import { ControlPlaneConnection } from "../../agent/control-plane/connection.ts";
import { NodeSession } from "../../agent/control-plane/node-session.ts";
import { CertificateRenewal } from "../../agent/identity/renewal.ts";
import { StateFile } from "../../agent/identity/state-file.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { SimulatedHost } from "./simulated-host.ts";
import type { SimulatedIdentities } from "./simulated-identities.ts";

/** What has happened so far, over all simulated agents. */
export interface SimulationCounts {
  /** Agents with an identity. */
  joined: number;
  /** Registrations that were answered, repeated ones too. */
  registrations: number;
  /** Heartbeats that were answered. */
  heartbeats: number;
  /** Certificates that were renewed. */
  renewals: number;
}

export interface SimulatedAgentOptions {
  host: SimulatedHost;
  identities: SimulatedIdentities;
  controlPlane: string;
  /** Of the whole simulation: an agent that is told to do something notes it in a folder of its own in it. */
  stateDir: string;
  counts: SimulationCounts;
  log: Logger;
  signal: AbortSignal;
}

/**
 * An agent as on a real host (its own key, certificate and connection, the same session and renewal), but for the host. Resolves once its node is
 * registered; then it reports until the signal aborts. `ended` settles when it has let go of everything.
 * Throws where the control plane refuses it.
 */
export async function startSimulatedAgent(options: SimulatedAgentOptions): Promise<{ ended: Promise<void> }> {
  const { host, identities, controlPlane, counts, signal } = options;
  const stateDir = join(options.stateDir, host.hostname);
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const state = await StateFile.open(stateDir);
  const credentials = await identities.of(host.hostname);
  counts.joined += 1;
  // Thousands of lines per second would say nothing: what happens is counted.
  const log = options.log.child({}, { level: "error" });
  const connection = new ControlPlaneConnection(controlPlane, credentials.caPem, credentials);
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
    // The control plane knows it by the certificate.
    nodeId: null,
    onRegistered: async () => {
      counts.registrations += 1;
    },
    log,
  });
  const renewal = new CertificateRenewal({
    credentials,
    connection,
    save: (renewed) => identities.keep(host.hostname, renewed),
    onRenewed: (renewed) => {
      counts.renewals += 1;
      connection.replaceCertificate(renewed);
    },
    log,
  });
  const ended = Promise.all([session.run(signal), renewal.run(signal)]).then(() => connection.close());
  await session.registered;
  return { ended };
}
