import type { ErrorCode } from "../../../platform/errors/codes.ts";
import { type ConnectionStep, KubernetesFailure } from "./types.ts";

/** What the API says instead of an object (kind Status). */
export interface ApiStatus {
  kind: "Status";
  code?: number;
  reason?: string;
  message?: string;
}

type Meaning = readonly [code: ErrorCode, step: ConnectionStep, reason: string];

const MEANINGS: Readonly<Record<number, Meaning>> = {
  401: ["UNAVAILABLE", "AUTHENTICATION", "Unauthorized"],
  403: ["FAILED_PRECONDITION", "AUTHORIZATION", "Forbidden"],
  404: ["NOT_FOUND", "REQUEST", "NotFound"],
  409: ["CONFLICT", "REQUEST", "Conflict"],
  410: ["CURSOR_EXPIRED", "REQUEST", "Gone"],
  429: ["UNAVAILABLE", "REQUEST", "TooManyRequests"],
};
const INVALID: Meaning = ["INVALID_ARGUMENT", "REQUEST", "Invalid"];
const SERVER_ERROR: Meaning = ["UNAVAILABLE", "REQUEST", "ServerError"];
const MAX_MESSAGE_LENGTH = 500;
const MAX_RETRY_AFTER_SECONDS = 3_600;

/** True for an answer in the API's own form of an error. */
export function isApiStatus(value: unknown): value is ApiStatus {
  return typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === "Status";
}

/** What an answer other than 2xx means. `body` is what it says, parsed where it is JSON. */
export function answerFailure(status: number, body: unknown, retryAfter?: string): KubernetesFailure {
  const said = isApiStatus(body) ? body : null;
  // A balancer before the API server answers 429 and 5xx in its own words.
  if (said === null && status !== 401 && status !== 429 && status < 500) return notKubernetes(`it answers ${status}`, status);
  const [code, step, reason] = meaningOf(status);
  const seconds = retryAfterSeconds(retryAfter);
  const details = seconds === null ? {} : { retryAfterSeconds: seconds };
  return new KubernetesFailure(code, step, reason, messageOf(reason, status, said), { status, details });
}

export function notKubernetes(what: string, status?: number): KubernetesFailure {
  const message = `What answers is no Kubernetes API server: ${what}.`;
  return new KubernetesFailure("UNAVAILABLE", "VERSION", "NotKubernetes", message, status === undefined ? {} : { status });
}

export function tooLarge(what: string, maxBytes: number): KubernetesFailure {
  const message = `${what} is larger than ${maxBytes} bytes. Ask for fewer at a time.`;
  return new KubernetesFailure("RESOURCE_EXHAUSTED", "REQUEST", "TooLarge", message);
}

function meaningOf(status: number): Meaning {
  if (status >= 500) return SERVER_ERROR;
  return MEANINGS[status] ?? INVALID;
}

function messageOf(reason: string, status: number, said: ApiStatus | null): string {
  const words = printable(said?.message ?? "", MAX_MESSAGE_LENGTH) || `status ${status}`;
  switch (reason) {
    case "Unauthorized":
      return "The API server does not accept the login (401): the token or client certificate is wrong, expired or revoked.";
    case "Forbidden":
      return `The cluster's account may not do that (403): ${words}`;
    case "NotFound":
      return `The cluster does not have it: ${words}`;
    case "Conflict":
      return `The cluster's state is another by now: ${words}`;
    case "Gone":
      return "The API server no longer keeps what was asked for: list again.";
    case "TooManyRequests":
      return "The API server has too much to do (429).";
    case "ServerError":
      return `The API server failed (${status}${said?.reason ? `, ${printable(said.reason, 60)}` : ""}).`;
    default:
      return `The API server refused the request: ${words}`;
  }
}

function printable(text: unknown, maxLength: number): string {
  const line = typeof text === "string" ? text.replace(/[^\P{C}]+/gu, " ").trim() : "";
  return line.length > maxLength ? `${line.slice(0, maxLength)}…` : line;
}

/** In seconds; a date is not what Kubernetes sends. */
function retryAfterSeconds(header: string | undefined): number | null {
  return header !== undefined && /^\d{1,6}$/.test(header) ? Math.min(Number(header), MAX_RETRY_AFTER_SECONDS) : null;
}
