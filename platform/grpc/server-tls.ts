import { createSecureContext, type SecureContextOptions } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";
import { FleetError } from "../errors/fleet-error.ts";
import type { KeyPair } from "../tls/certificate-files.ts";

export interface ServerTlsOptions extends KeyPair {
  /** Sent along with the certificate, and what client certificates are checked against. */
  caPem: string;
  /**
   * `required`: a client without a certificate of this CA does not get through the handshake. `optional`: it gets through without an identity
   * (a host that is about to join). `none`: not asked for.
   */
  clientCertificates: "none" | "optional" | "required";
}

/** A handshake takes milliseconds; who takes longer only holds a socket. */
const HANDSHAKE_TIMEOUT_MS = 10_000;

/** TLS of a server, whose certificate can be replaced while it serves. */
export class ServerTls extends ServerCredentials {
  readonly #caPem: string;
  readonly #minVersion: "TLSv1.2" | "TLSv1.3";

  /** Throws FAILED_PRECONDITION for a certificate or key that cannot be used. */
  constructor({ caPem, clientCertificates, ...pair }: ServerTlsOptions) {
    // Both ends are ours where certificates are asked for; users' clients may be older.
    const minVersion = clientCertificates === "none" ? "TLSv1.2" : "TLSv1.3";
    super(
      {
        requestCert: clientCertificates !== "none",
        rejectUnauthorized: clientCertificates === "required",
        handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      },
      contextOptions(pair, caPem, minVersion),
    );
    this.#caPem = caPem;
    this.#minVersion = minVersion;
  }

  /** From the next connection on the server shows this certificate; open connections stay. Throws FAILED_PRECONDITION as the constructor does. */
  replace(pair: KeyPair): void {
    this.updateSecureContextOptions(contextOptions(pair, this.#caPem, this.#minVersion));
  }

  override _equals(other: ServerCredentials): boolean {
    return other === this;
  }
}

function contextOptions(pair: KeyPair, caPem: string, minVersion: "TLSv1.2" | "TLSv1.3"): SecureContextOptions {
  const options = { key: pair.keyPem, cert: `${pair.certificatePem.trim()}\n${caPem}`, ca: caPem, minVersion };
  try {
    createSecureContext(options);
    return options;
  } catch (cause) {
    throw new FleetError("FAILED_PRECONDITION", "The server's certificate and key cannot be used.", { cause });
  }
}
