import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { CA_CERTIFICATE_FILE, readOnlyCa } from "../../platform/tls/certificate-authority.ts";
import { type KeyPair, loadKeyPair, replaceFile, saveKeyPair } from "../../platform/tls/certificate-files.ts";
import { parseCertificateUri } from "../../platform/tls/certificate-names.ts";

/** Who the agent is, and whom it trusts. */
export interface AgentCredentials extends KeyPair {
  /** As in the certificate: fleetgraph://agent/<id>. */
  agentId: string;
  caPem: string;
}

/** Key and certificate in the state directory. */
export const AGENT_FILE = "agent.pem";

/** Keeps the credentials, mode 0600. The CA comes first: the key file's presence says that both are whole. */
export async function saveCredentials(stateDir: string, credentials: AgentCredentials): Promise<void> {
  await replaceFile(join(stateDir, CA_CERTIFICATE_FILE), credentials.caPem, 0o644);
  await saveKeyPair(join(stateDir, AGENT_FILE), credentials);
}

/** What `saveCredentials` kept; null before the first. Throws FAILED_PRECONDITION, saying what to do, for damaged files. */
export async function loadCredentials(stateDir: string): Promise<AgentCredentials | null> {
  try {
    const pair = await loadKeyPair(join(stateDir, AGENT_FILE));
    if (pair === null) return null;
    const caPem = await readFile(join(stateDir, CA_CERTIFICATE_FILE), "utf8");
    return { ...pair, caPem, agentId: checkCertificate(pair.certificatePem, caPem) };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FleetError(
      "FAILED_PRECONDITION",
      `The agent's identity in ${stateDir} cannot be used: ${why} Restore ${AGENT_FILE} and ${CA_CERTIFICATE_FILE} from a backup, or empty the directory and join again with a new token.`,
      { cause },
    );
  }
}

/**
 * The agent id in a certificate that this CA signed. Its dates are not looked at: a certificate that has ended still says who this is.
 * Throws FAILED_PRECONDITION for any other certificate.
 */
export function checkCertificate(certificatePem: string, caPem: string): string {
  const ca = new X509Certificate(readOnlyCa(caPem).certificatePem);
  const certificate = new X509Certificate(certificatePem);
  const uri = (certificate.subjectAltName ?? "").split(", ").find((name) => name.startsWith("URI:"));
  const name = parseCertificateUri(uri?.slice(4) ?? "");
  if (name?.kind !== "agent" || !certificate.verify(ca.publicKey)) {
    throw new FleetError("FAILED_PRECONDITION", "The certificate is not an agent's, or another CA signed it.");
  }
  return name.id;
}
