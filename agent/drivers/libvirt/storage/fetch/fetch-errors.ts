import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { precondition } from "../../../shared/refusals.ts";

/** For what is not worth another attempt. */
export function failed(message: string, cause?: unknown): FleetError {
  return new FleetError("FAILED_PRECONDITION", `The image cannot be fetched. ${message}`, { reason: "ImageFetchFailed", cause });
}

/** Without what undici and Node say about addresses. */
export function reasonOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  if (typeof code === "string") return REASONS[code] ?? code;
  return error instanceof Error ? error.message : String(error);
}

/** OpenSSL's and Node's codes: SELF_SIGNED_CERT_IN_CHAIN, ERR_TLS_CERT_ALTNAME_INVALID, UNABLE_TO_GET_ISSUER_CERT_LOCALLY, … */
export function isAboutTrust(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /CERT|SIGNATURE|CRL/.test(code);
}

const REASONS: Record<string, string> = {
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was reset",
  ENOTFOUND: "the host's name is not known",
  EAI_AGAIN: "the host's name cannot be resolved now",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
  UND_ERR_CONNECT_TIMEOUT: "the connection took too long",
  UND_ERR_HEADERS_TIMEOUT: "the server did not answer in time",
  UND_ERR_BODY_TIMEOUT: "the server stopped sending",
  UND_ERR_SOCKET: "the connection broke",
  UND_ERR_ABORTED: "the connection broke",
};

export function tooLarge(limit: number): FleetError {
  return precondition("ImageTooLarge", `The image at that URL is larger than ${limit} bytes.`, {
    field: "spec.image",
    maximumBytes: limit,
  });
}
