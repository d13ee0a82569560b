import { createHash, timingSafeEqual, type X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { connect, type TLSSocket } from "node:tls";
import { FleetError } from "../errors/fleet-error.ts";
import { readOnlyCa, type TrustedCa } from "./certificate-authority.ts";
import { parseCertificateUri } from "./certificate-names.ts";

export interface PinnedCaOptions {
  host: string;
  port: number;
  /** SHA-256 of the CA certificate's DER, hexadecimal, from the join token. */
  fingerprint: string;
  /** For the whole exchange; 10 s by default. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

/** A chain of ours is two long. */
const MAX_CHAIN = 8;

/**
 * Fetches the CA's certificate from a server that sends it along, and takes it only if it is the one that the join token names and the
 * server's own certificate is signed by it and names a part of the control plane: an agent has a certificate of this CA too. Nothing is
 * sent over this connection: what follows checks the server against the CA as usual.
 * Throws UNAUTHENTICATED (`reason` CaMismatch) for another CA, UNAVAILABLE where the server cannot be reached in time.
 */
export async function fetchPinnedCa(options: PinnedCaOptions): Promise<TrustedCa> {
  const socket = await handshake(options);
  try {
    const leaf = socket.getPeerX509Certificate();
    for (
      let certificate = leaf, depth = 0;
      certificate !== undefined && depth < MAX_CHAIN;
      certificate = issuerOf(certificate), depth += 1
    ) {
      if (!hasFingerprint(certificate, options.fingerprint)) continue;
      if (leaf === undefined || !leaf.verify(certificate.publicKey) || !isControl(leaf)) break;
      return readOnlyCa(certificate.toString());
    }
  } finally {
    socket.destroy();
  }
  throw new FleetError(
    "UNAUTHENTICATED",
    "The server is not a part of the control plane that the join token names, by its certificate. Nothing was sent to it. Check the address and the token.",
    { reason: "CaMismatch" },
  );
}

function handshake({ host, port, timeoutMs = 10_000, signal }: PinnedCaOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    // The CA is not known yet, so the chain cannot be checked by TLS; the fingerprint is the check.
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      minVersion: "TLSv1.3",
      ALPNProtocols: ["h2"],
      ...(isIP(host) === 0 && { servername: host }),
    });
    const fail = (cause: unknown) => {
      socket.destroy();
      reject(new FleetError("UNAVAILABLE", "The control plane cannot be reached over TLS.", { cause }));
    };
    const deadline = AbortSignal.timeout(timeoutMs);
    const onEnd = () => fail(signal?.aborted ? signal.reason : deadline.reason);
    deadline.addEventListener("abort", onEnd);
    signal?.addEventListener("abort", onEnd);
    const release = () => {
      deadline.removeEventListener("abort", onEnd);
      signal?.removeEventListener("abort", onEnd);
    };
    socket.once("close", () => {
      release();
      fail(new Error("The connection was closed."));
    });
    socket.on("error", fail);
    socket.once("secureConnect", () => {
      release();
      resolve(socket);
    });
    if (signal?.aborted) onEnd();
  });
}

function issuerOf(certificate: X509Certificate): X509Certificate | undefined {
  const issuer = certificate.issuerCertificate;
  // A root names itself.
  return issuer?.fingerprint256 === certificate.fingerprint256 ? undefined : issuer;
}

function isControl(leaf: X509Certificate): boolean {
  const uris = (leaf.subjectAltName ?? "").split(", ").filter((name) => name.startsWith("URI:"));
  return uris.length === 1 && parseCertificateUri(uris[0]?.slice(4) ?? "")?.kind === "control";
}

function hasFingerprint(certificate: X509Certificate, fingerprint: string): boolean {
  const wanted = Buffer.from(fingerprint, "hex");
  const found = createHash("sha256").update(certificate.raw).digest();
  return wanted.byteLength === found.byteLength && timingSafeEqual(wanted, found);
}
