import { createHash } from "node:crypto";
import { callerName, type Identity } from "../../../../platform/auth/identity.ts";
import { invalidArgument } from "../../../../platform/errors/fleet-error.ts";
import type { TerminalSize } from "../../../../schema/generated/proto/hypervisor/v1/common.ts";
import { checkInteger, checkName } from "../../../kit/input-checks.ts";

/** Of one input, in bytes. */
export const MAX_INPUT_BYTES = 64 * 1024;

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/** Both or neither; without them the agent's own, 80 × 24. */
export function checkSize({ columns, rows }: { columns?: number | null; rows?: number | null }): TerminalSize | undefined {
  const given = [columns ?? null, rows ?? null];
  if (given.every((value) => value === null)) return undefined;
  if (columns === null || columns === undefined) throw invalidArgument("columns", "Columns and rows belong together.");
  if (rows === null || rows === undefined) throw invalidArgument("rows", "Columns and rows belong together.");
  return { width: checkInteger("columns", columns, 1, 1_000), height: checkInteger("rows", rows, 1, 1_000) };
}

/** The bytes of an input, given as text or as base64. */
export function inputBytes(text: string | null | undefined, data: string | null | undefined): Buffer | null {
  const hasText = text !== null && text !== undefined;
  const hasData = data !== null && data !== undefined;
  if (hasText && hasData) throw invalidArgument("data", "Give either `data` or `text`.");
  if (hasText) {
    if (!text.isWellFormed()) throw invalidArgument("text", "Text without lone surrogates is needed; bytes go in `data`.");
    return Buffer.from(text);
  }
  if (!hasData) return null;
  if (!BASE64.test(data)) throw invalidArgument("data", "Base64 (RFC 4648, with padding) is needed.");
  return Buffer.from(data, "base64");
}

/** An input may be empty only where it takes over: so that one can take over without typing. */
export function checkInput(data: Buffer | null | undefined, takeOver: boolean): Buffer {
  const bytes = data ?? Buffer.alloc(0);
  if (bytes.length === 0 && !takeOver) throw invalidArgument("data", "There is nothing to type: give `data` or `text`.");
  if (bytes.length > MAX_INPUT_BYTES) {
    throw invalidArgument("data", `At most ${MAX_INPUT_BYTES} bytes at a time: send the rest with the next sequence number.`, {
      max: MAX_INPUT_BYTES,
    });
  }
  return bytes;
}

/**
 * Names who types to the agent: the user, and which of its terminals where it says so. The same on every replica and with a renewed token.
 * It need not be secret, because only the control plane can tell an agent one.
 */
export function writerKey(identity: Identity, terminalId: string | null | undefined): string {
  const terminal = checkName("terminalId", terminalId);
  return createHash("sha256")
    .update(JSON.stringify(["console", identity.kind, callerName(identity), terminal]))
    .digest("hex");
}
