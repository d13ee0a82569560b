import { createHash, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { connect, type PeerCertificate, type TLSSocket } from "node:tls";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { parseHostPort } from "../../platform/grpc/listen-address.ts";
import { readOnlyCa, type TrustedCa } from "../../platform/tls/certificate-authority.ts";
import { parseCertificateUri } from "../../platform/tls/certificate-names.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** Certificates of ours come alone with their CA; longer chains are not walked. */
const MAX_CHAIN = 5;

/**
 * The control plane's CA, taken from the chain that its server shows, if it is the one that the join token pins and if it signed the server's
 * certificate. Nothing is sent to the server but the handshake. Throws UNAUTHENTICATED (reason CaMismatch) for any other server,
 * UNAVAILABLE where it cannot be reached.
 */
export async function fetchPinnedCa(address: string, fingerprint: string, signal?: AbortSignal): Promise<TrustedCa> {
  const chain = await presentedChain(address, signal);
  const ca = chain.find((certificate) => createHash("sha256").update(certificate.raw).digest("hex") === fingerprint);
  if (ca === undefined || !ca.ca) throw mismatch("shows no CA with the fingerprint that the join token pins");
  const leaf = chain[0];
  if (leaf === undefined || leaf.ca || !leaf.checkIssued(ca) || !leaf.verify(ca.publicKey)) {
    throw mismatch("shows a certificate that the pinned CA did not sign");
  }
  // Agents have certificates of the same CA: one of them must not pass for the control plane.
  const names = (leaf.subjectAltName ?? "").split(", ").filter((name) => name.startsWith("URI:"));
  if (names.length !== 1 || parseCertificateUri(names[0]?.slice(4) ?? "")?.kind !== "control") {
    throw mismatch("is not a part of the control plane");
  }
  return readOnlyCa(ca.toString());
}

function mismatch(what: string): FleetError {
  return new FleetError("UNAUTHENTICATED", `The server ${what}. Nothing was sent to it. Check the address and the token.`, {
    reason: "CaMismatch",
  });
}

async function presentedChain(address: string, signal?: AbortSignal): Promise<X509Certificate[]> {
  const { host, port } = parseHostPort(address);
  const socket = connect({
    host,
    port,
    // Trust is decided here, by the pinned fingerprint, before anything is sent.
    rejectUnauthorized: false,
    minVersion: "TLSv1.3",
    ALPNProtocols: ["h2"],
    ...(isIP(host) === 0 && { servername: host }),
  });
  try {
    await handshake(socket, signal);
    return chainOf(socket.getPeerCertificate(true));
  } catch (cause) {
    signal?.throwIfAborted();
    throw new FleetError("UNAVAILABLE", "The control plane cannot be reached by TLS.", { cause });
  } finally {
    socket.destroy();
  }
}

function handshake(socket: TLSSocket, signal?: AbortSignal): Promise<void> {
  return new Promise((fulfil, reject) => {
    const abort = () => reject(signal?.reason);
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => reject(new Error("The handshake took too long.")));
    socket.once("secureConnect", fulfil);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("The connection was closed.")));
    signal?.addEventListener("abort", abort, { once: true });
    socket.once("close", () => signal?.removeEventListener("abort", abort));
    if (signal?.aborted) abort();
  });
}

/** Node ends the chain with a certificate that is its own issuer, or with none. */
function chainOf(leaf: PeerCertificate & { issuerCertificate?: PeerCertificate }): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let current: (PeerCertificate & { issuerCertificate?: PeerCertificate }) | undefined = leaf;
  while (current?.raw && chain.length < MAX_CHAIN) {
    chain.push(new X509Certificate(current.raw));
    if (current.issuerCertificate === current) break;
    current = current.issuerCertificate;
  }
  return chain;
}
