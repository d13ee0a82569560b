import { hash, type KeyObject, X509Certificate } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { Identity } from "../auth/identity.ts";
import type { TrustedCa } from "./certificate-authority.ts";
import { parseCertificateUri } from "./certificate-names.ts";

export type CertificateIdentity = Extract<Identity, { kind: "agent" | "control" }>;

/** More peers than one process has; a certificate that fell out is just checked again. */
const MAX_CACHED = 20_000;
/** A certificate of ours has 500 to 700 bytes. */
const MAX_CERTIFICATE_BYTES = 8192;
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/** What never changes about a certificate; null where it never is one of ours. */
interface Checked {
  identity: CertificateIdentity | null;
  validFrom: number;
  validTo: number;
}

interface Checker {
  certificate: X509Certificate;
  publicKey: KeyObject;
  seen: LRUCache<string, Checked>;
}

const checkers = new WeakMap<TrustedCa, Checker>();

/**
 * Who the peer is by its certificate (DER): signed by this CA, meant for clients, valid now, with one URI SAN of ours and nothing else
 * that could be read as a name. Null otherwise. The caller knows from TLS that the peer holds the key.
 * Certificates are remembered by fingerprint, so that only the dates are looked at for a call on a known connection.
 */
export function identityFromCertificate(rawDer: Uint8Array, ca: TrustedCa, now = Date.now()): CertificateIdentity | null {
  if (rawDer.byteLength > MAX_CERTIFICATE_BYTES) return null;
  const checker = checkerOf(ca);
  const fingerprint = hash("sha256", rawDer, "base64");
  let checked = checker.seen.get(fingerprint);
  if (checked === undefined) {
    checked = check(rawDer, checker);
    checker.seen.set(fingerprint, checked);
  }
  return now >= checked.validFrom && now < checked.validTo ? checked.identity : null;
}

function checkerOf(ca: TrustedCa): Checker {
  let checker = checkers.get(ca);
  if (checker === undefined) {
    const certificate = new X509Certificate(ca.certificateDer);
    checker = { certificate, publicKey: certificate.publicKey, seen: new LRUCache({ max: MAX_CACHED }) };
    checkers.set(ca, checker);
  }
  return checker;
}

function check(rawDer: Uint8Array, { certificate: ca, publicKey }: Checker): Checked {
  const refused: Checked = { identity: null, validFrom: 0, validTo: 0 };
  try {
    const certificate = new X509Certificate(rawDer);
    // checkIssued compares names and key ids; the signature is the proof.
    if (certificate.ca || !certificate.checkIssued(ca) || !certificate.verify(publicKey)) return refused;
    // Node's `keyUsage` is the extended key usage.
    if (!certificate.keyUsage?.includes(CLIENT_AUTH)) return refused;
    const identity = identityOf(certificate.subjectAltName);
    return { identity, validFrom: certificate.validFromDate.getTime(), validTo: certificate.validToDate.getTime() };
  } catch {
    return refused;
  }
}

/** From the text form of the SAN: exactly one URI, of ours. Other kinds of names (a control part's hosts) do not matter here. */
function identityOf(subjectAltName: string | undefined): CertificateIdentity | null {
  // Node quotes a value that holds a comma or quote, and no URI of ours does: a split can only make a name unreadable, not forge one.
  const uris = (subjectAltName ?? "").split(", ").filter((name) => name.startsWith("URI:"));
  const name = uris.length === 1 && uris[0] !== undefined ? parseCertificateUri(uris[0].slice(4)) : null;
  if (name === null) return null;
  return name.kind === "agent" ? { kind: "agent", agentId: name.id } : { kind: "control", name: name.name };
}
