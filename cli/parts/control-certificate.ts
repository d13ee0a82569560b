import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Lifecycle } from "../../platform/lifecycle.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { CertificateAuthority, readOnlyCa, type TrustedCa } from "../../platform/tls/certificate-authority.ts";
import { type KeyPair, needsRenewal } from "../../platform/tls/certificate-files.ts";
import { loadControlCredentials } from "../../platform/tls/control-credentials.ts";
import { StartError } from "../process/start-error.ts";

/** The certificate by which a part of the control plane is known to agents and to other parts, kept fresh while the process runs. */
export interface ControlCertificate {
  readonly ca: TrustedCa;
  /** Null for a part that only uses a certificate. */
  readonly authority: CertificateAuthority | null;
  current(): KeyPair;
  /** Called with each new certificate. */
  onRenewed(use: (pair: KeyPair) => void): void;
}

export interface ControlCertificateOptions {
  /** The part's name in the certificate. */
  name: string;
  /** Of the CA. */
  caDir: string;
  /** Of credentials that were made elsewhere; then the CA's folder is not needed. */
  credentialsDir: string | null;
  /** Names and addresses that the part is reached by. */
  hosts: string[];
  log: Logger;
  lifecycle: Lifecycle;
}

const CHECK_MS = 6 * 3_600_000;

/** Issues a certificate from the CA, made where it is missing, or reads the one that was made for this part. Throws FAILED_PRECONDITION. */
export async function openControlCertificate(options: ControlCertificateOptions): Promise<ControlCertificate> {
  const { name, caDir, credentialsDir, hosts, log, lifecycle } = options;
  const authority = credentialsDir === null ? await CertificateAuthority.open(caDir) : null;
  const renew = async (): Promise<KeyPair & { caPem: string }> => {
    if (authority !== null) return { ...(await authority.issueControl(name, hosts)), caPem: authority.certificatePem };
    return loadControlCredentials(credentialsDir as string);
  };
  let current = await renew();
  const ca = authority ?? readOnlyCa(current.caPem);
  const users: Array<(pair: KeyPair) => void> = [];
  const check = async () => {
    if (!needsRenewal(current.certificatePem)) return;
    const renewed = await renew();
    if (renewed.certificatePem === current.certificatePem) {
      throw new FleetError("FAILED_PRECONDITION", `The certificate in ${credentialsDir} ends soon: make a new one.`);
    }
    current = renewed;
    for (const use of users) use(renewed);
    log.info("the control plane's certificate was renewed");
  };
  const timer = setInterval(
    () => void check().catch((error: unknown) => log.error({ err: error }, "the certificate was not renewed")),
    CHECK_MS,
  );
  timer.unref();
  lifecycle.onStop("certificate renewal", () => clearInterval(timer));
  return { ca, authority, current: () => current, onRenewed: (use) => void users.push(use) };
}

/** Throws StartError for a part that must sign certificates and cannot. */
export function authorityOf({ authority }: ControlCertificate): CertificateAuthority {
  if (authority !== null) return authority;
  throw new StartError("The clusters subgraph signs agents' certificates: it needs the CA's own folder (tls.caDir), not tls.controlDir.");
}
