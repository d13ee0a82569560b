import { errors } from "undici";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { type ConnectionStep, KubernetesFailure } from "./types.ts";

type Known = readonly [reason: string, message: string];

const UNKNOWN = "unknown";
const UNTRUSTED: Known = [
  "CertificateUntrusted",
  "The API server's certificate is not from the authority in the kubeconfig (certificate-authority-data).",
];
const CLIENT_CERTIFICATE: Known = ["ClientCertificateRefused", "The API server refused the client certificate."];
const UNREACHABLE: Known = ["HostUnreachable", "The API server's address cannot be reached from here."];

/** By the code of Node.js or OpenSSL. */
const TLS_CODES: Readonly<Record<string, Known>> = {
  CERT_HAS_EXPIRED: ["CertificateExpired", "The API server's certificate has expired."],
  CERT_NOT_YET_VALID: ["CertificateExpired", "The API server's certificate is not valid yet (or this machine's clock is wrong)."],
  ERR_TLS_CERT_ALTNAME_INVALID: [
    "CertificateNameMismatch",
    "The API server's certificate is for other names than that in the kubeconfig (server, or tls-server-name).",
  ],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  CERT_SIGNATURE_FAILURE: UNTRUSTED,
  CERT_UNTRUSTED: UNTRUSTED,
  CERT_REJECTED: UNTRUSTED,
  INVALID_CA: UNTRUSTED,
  INVALID_PURPOSE: UNTRUSTED,
  PATH_LENGTH_EXCEEDED: UNTRUSTED,
  CERT_CHAIN_TOO_LONG: UNTRUSTED,
  ERR_SSL_WRONG_VERSION_NUMBER: ["TlsFailed", "What answers does not speak TLS."],
  ERR_SSL_PACKET_LENGTH_TOO_LONG: ["TlsFailed", "What answers does not speak TLS."],
};

const TCP_CODES: Readonly<Record<string, Known>> = {
  ECONNREFUSED: ["ConnectionRefused", "Nothing listens at the API server's address (connection refused)."],
  ETIMEDOUT: ["ConnectTimeout", "The API server's address did not answer in time."],
  EHOSTUNREACH: UNREACHABLE,
  ENETUNREACH: UNREACHABLE,
  EHOSTDOWN: UNREACHABLE,
  EADDRNOTAVAIL: UNREACHABLE,
};

/** What a failed step of connecting means. */
export function connectFailure(step: ConnectionStep, error: unknown): KubernetesFailure {
  if (error instanceof KubernetesFailure) return error;
  const code = codeOf(error);
  const [reason, message] = knownOf(step, code);
  return new KubernetesFailure("UNAVAILABLE", step, reason, message, { cause: error });
}

function knownOf(step: ConnectionStep, code: string): Known {
  if (step === "DNS") {
    return code === "EAI_AGAIN"
      ? ["DnsFailed", "The API server's name cannot be resolved now: the name servers do not answer."]
      : ["DnsFailed", "The API server's name cannot be resolved."];
  }
  if (step === "TCP") return TCP_CODES[code] ?? ["HostUnreachable", `The API server cannot be connected to (${code}).`];
  if (isClientCertificateAlert(code)) return CLIENT_CERTIFICATE;
  return TLS_CODES[code] ?? ["TlsFailed", `The TLS handshake with the API server failed (${code}).`];
}

/** What a connection that had been made, and broke, means. In TLS 1.3 a refusal of the client's certificate comes only then. */
export function brokenFailure(error: unknown): KubernetesFailure {
  if (error instanceof KubernetesFailure) return error;
  const code = codeOf(error);
  if (isClientCertificateAlert(code)) return new KubernetesFailure("UNAVAILABLE", "TLS", ...CLIENT_CERTIFICATE, { cause: error });
  if (isNoHttp(error)) {
    // Not the error itself: it carries what came.
    const cause = (error as Error).message;
    return new KubernetesFailure("UNAVAILABLE", "REQUEST", "NotKubernetes", "What answers does not speak HTTP as an API server does.", {
      cause,
    });
  }
  if (code === "UND_ERR_INVALID_ARG") {
    return new KubernetesFailure("INVALID_ARGUMENT", "REQUEST", "Invalid", "The request cannot be written as HTTP.", { cause: error });
  }
  // No error of a connection: one of ours.
  if (code === UNKNOWN) return new KubernetesFailure("INTERNAL", "REQUEST", "Internal", FleetError.from(error).message, { cause: error });
  return new KubernetesFailure("UNAVAILABLE", "REQUEST", "ConnectionLost", "The connection to the API server broke off.", { cause: error });
}

/** What took too long: a step of connecting, or the answer. */
export function lateFailure(step: ConnectionStep, timeoutMs: number): KubernetesFailure {
  const [reason, what] = LATE[step] ?? ["RequestTimeout", "The API server did not answer"];
  return new KubernetesFailure("UNAVAILABLE", step, reason, `${what} within ${Math.round(timeoutMs / 100) / 10} s.`);
}

const LATE: Partial<Record<ConnectionStep, Known>> = {
  DNS: ["DnsFailed", "The API server's name was not resolved"],
  TCP: ["ConnectTimeout", "The API server's address did not answer"],
  TLS: ["TlsFailed", "The API server accepted the connection, and did not finish the TLS handshake"],
};

function isClientCertificateAlert(code: string): boolean {
  return /^ERR_SSL_(SSLV3|TLSV1|TLSV13)_ALERT_(BAD_CERTIFICATE|CERTIFICATE_|UNSUPPORTED_CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/.test(code);
}

function isNoHttp(error: unknown): boolean {
  return error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError;
}

/** Of the error, or of what it stands for: undici wraps what a socket says, Node.js what several addresses say. */
function codeOf(error: unknown): string {
  const { code, cause, errors } = error as { code?: unknown; cause?: unknown; errors?: unknown[] };
  if (code === "UND_ERR_SOCKET" && cause !== undefined && cause !== null) return codeOf(cause);
  if (code === undefined && errors?.[0]) return codeOf(errors[0]);
  return typeof code === "string" ? code.slice(0, 80) : UNKNOWN;
}
