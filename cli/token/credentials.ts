import { join } from "node:path";
import type { Role } from "../../platform/auth/identity.ts";
import { LocalIssuer } from "../../platform/auth/local-issuer.ts";
import type { Config } from "../../platform/config/settings.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { CertificateAuthority } from "../../platform/tls/certificate-authority.ts";
import { saveControlCredentials } from "../../platform/tls/control-credentials.ts";
import { knownControlAddress } from "../parts/control-address.ts";
import { formatJoinToken } from "../parts/join-token.ts";

const log = () => createLogger({ name: "token", level: "warn", pretty: process.stderr.isTTY === true });

/** A token for a person or a program, signed by the local issuer. */
export async function userToken(config: Config, user: { subject: string; role: Role; ttlSeconds: number }): Promise<string> {
  const issuer = await LocalIssuer.open(config["auth.keyDir"]);
  return issuer.issue(user);
}

/** A token with which `uses` hosts can join until it ends. Works beside a clusters subgraph that runs. */
export async function joinToken(config: Config, limits: { ttlSeconds: number; uses: number }): Promise<string> {
  const { issueJoinToken } = await import("../../subgraphs/clusters/main.ts");
  const authority = await CertificateAuthority.open(config["tls.caDir"]);
  const { id, secret } = await issueJoinToken(config["database.clusters"], log(), limits);
  return formatJoinToken({ id, secret, caFingerprint: authority.fingerprint, address: await knownControlAddress(config) });
}

/** Credentials for a part of the control plane that does not share the CA's folder, in a folder of their own. Gives the folder. */
export async function controlCredentials(config: Config, name: string, folder: string | undefined): Promise<string> {
  const authority = await CertificateAuthority.open(config["tls.caDir"]);
  const target = folder ?? join(config.dataDir, `${name}-credentials`);
  await saveControlCredentials(target, { ...(await authority.issueControl(name)), caPem: authority.certificatePem });
  return target;
}
