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

const REFUSED: Checked = { identity: null, validFrom: 0, validTo: 0 };

interface Checker {
  certificate: X509Certificate;
  publicKey: KeyObject;
  /** By fingerprint: a peer that connects again is known. */
  seen: LRUCache<string, Checked>;
  /** By the very bytes, which a connection keeps: its calls need no fingerprint. */
  connected: WeakMap<Uint8Array, Checked>;
}

const checkers = new WeakMap<TrustedCa, Checker>();

/**
 * Who the peer is by its certificate (DER): signed by this CA, meant for clients, valid now, with one URI SAN of ours and nothing else
 * that could be read as a name. Null otherwise. The caller knows from TLS that the peer holds the key.
 * Certificates are remembered, so that only the dates are looked at for a call on a known connection. The bytes must not be changed later.
 */
export function identityFromCertificate(rawDer: Uint8Array, ca: TrustedCa, now = Date.now()): CertificateIdentity | null {
  const checker = checkerOf(ca);
  let checked = checker.connected.get(rawDer);
  if (checked === undefined) {
    checked = checkOnce(rawDer, checker);
    checker.connected.set(rawDer, checked);
  }
  return now >= checked.validFrom && now < checked.validTo ? checked.identity : null;
}

function checkerOf(ca: TrustedCa): Checker {
  let checker = checkers.get(ca);
  if (checker === undefined) {
    const certificate = new X509Certificate(ca.certificateDer);
    checker = { certificate, publicKey: certificate.publicKey, seen: new LRUCache({ max: MAX_CACHED }), connected: new WeakMap() };
    checkers.set(ca, checker);
  }
  return checker;
}

function checkOnce(rawDer: Uint8Array, checker: Checker): Checked {
  if (rawDer.byteLength > MAX_CERTIFICATE_BYTES) return REFUSED;
  const fingerprint = hash("sha256", rawDer, "base64");
  let checked = checker.seen.get(fingerprint);
  if (checked === undefined) {
    checked = check(rawDer, checker);
    checker.seen.set(fingerprint, checked);
  }
  return checked;
}

function check(rawDer: Uint8Array, { certificate: ca, publicKey }: Checker): Checked {
  try {
    const certificate = new X509Certificate(rawDer);
    // checkIssued compares names and key ids; the signature is the proof.
    if (certificate.ca || !certificate.checkIssued(ca) || !certificate.verify(publicKey)) return REFUSED;
    // Node's `keyUsage` is the extended key usage.
    if (!certificate.keyUsage?.includes(CLIENT_AUTH)) return REFUSED;
    const identity = identityOf(certificate.subjectAltName);
    return { identity, validFrom: certificate.validFromDate.getTime(), validTo: certificate.validToDate.getTime() };
  } catch {
    return REFUSED;
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
