import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { parseJoinToken } from "../../agent/identity/join-token.ts";
import type { Config } from "../../platform/config/settings.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import { knownControlAddress } from "../parts/control-address.ts";
import { joinToken } from "../token/credentials.ts";
import { SimulatedIdentities } from "./simulated-identities.ts";

const JOIN_TTL_SECONDS = 86_400;

/** Where a simulation's agents belong, and who they are. */
export interface SimulatedFleet {
  stateDir: string;
  identities: SimulatedIdentities;
  controlPlane: string;
}

/** The fleet of the join token, or without one the fleet whose files are in the data directory. */
export async function openFleet(config: Config, nodes: number, log: Logger, signal: AbortSignal): Promise<SimulatedFleet> {
  const given = config["agent.joinToken"];
  const stateDir = join(config.dataDir, "simulated");
  await mkdir(stateDir, { recursive: true, mode: 0o700 });
  const controlPlane = config["agent.controlPlane"] ?? (given === null ? await knownControlAddress(config) : parseJoinToken(given).address);
  const identities = await SimulatedIdentities.open({
    file: join(stateDir, "identities.jsonl"),
    caFingerprint:
      given === null ? (await CertificateAuthority.open(config["tls.caDir"])).fingerprint : parseJoinToken(given).caFingerprint,
    joinToken: async () => given ?? (await joinToken(config, { ttlSeconds: JOIN_TTL_SECONDS, uses: nodes })),
    controlPlane,
    log,
    signal,
  });
  return { stateDir, identities, controlPlane };
}
