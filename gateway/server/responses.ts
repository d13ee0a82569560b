import type { ServerResponse } from "node:http";
import { ERROR_TABLE } from "../../platform/errors/codes.ts";
import { FleetError } from "../../platform/errors/fleet-error.ts";
import { faultToGraphQLError } from "../transport/faults.ts";

/** For all that is not a page: nothing in it may run, be framed, or be taken for another type. */
const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-opener-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

/** Set before anything is decided; who serves a page replaces what does not fit it. */
export function setSecurityHeaders(response: ServerResponse): void {
  for (const [name, value] of Object.entries(SECURITY_HEADERS)) response.setHeader(name, value);
}

export function sendJson(response: ServerResponse, status: number, body: unknown): void {
  if (response.destroyed || response.headersSent) return;
  response.statusCode = status;
  response.setHeader("content-type", "application/json; charset=utf-8");
  response.end(`${JSON.stringify(body)}\n`);
}

/** An error in the form of a GraphQL answer, with the HTTP status of its code. */
export function sendError(response: ServerResponse, error: unknown): void {
  const fault = FleetError.from(error);
  if (response.headersSent) return void response.destroy();
  // What is left of a body that was refused is not read.
  if (fault.reason === "BodyTooLarge") response.setHeader("connection", "close");
  const status = fault.reason === "BodyTooLarge" ? 413 : ERROR_TABLE[fault.code].http;
  sendJson(response, status, { errors: [faultToGraphQLError(fault).toJSON()] });
}
