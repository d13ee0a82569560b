import { isIP } from "node:net";
import { invalidArgument } from "../../platform/errors/fleet-error.ts";

/*
 * Checks that both faces share. A field is named by its GraphQL path (`capacity.memoryBytes`); the gRPC face writes it its own way
 * (`capacity.memory_bytes`).
 */

const HOST_LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

/** RFC 1123, at most 253 characters; given back in lower case, as names of hosts have no case. */
export function checkHostname(field: string, value: string): string {
  const hostname = value.toLowerCase();
  if (hostname === "") throw invalidArgument(field, "A hostname is needed.");
  if (hostname.length > 253 || !hostname.split(".").every((label) => HOST_LABEL.test(label))) {
    throw invalidArgument(field, "A hostname has labels of 1–63 letters, digits and inner hyphens, joined by dots, 253 characters in all.");
  }
  return hostname;
}

export function checkIp(field: string, value: string): string {
  if (isIP(value) === 0) throw invalidArgument(field, "An IPv4 or IPv6 address is needed.");
  return value;
}

export function checkPort(field: string, value: number): number {
  return checkInteger(field, value, 1, 65_535);
}

/** A whole number in the range. */
export function checkInteger(field: string, value: number, min: number, max: number): number {
  if (!Number.isInteger(value) || value < min || value > max) {
    throw invalidArgument(field, `A whole number from ${min} to ${max} is needed.`, { min, max });
  }
  return value;
}

export function checkOneOf<T extends string>(field: string, value: string | null | undefined, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw invalidArgument(field, `One of ${allowed.join(", ")} is needed.`, { allowed: [...allowed] });
  return found;
}

/** A short text for people and filters: no control characters. Empty is null. */
export function checkName(field: string, value: string | null | undefined, maxLength = 128): string | null {
  if (value === null || value === undefined || value === "") return null;
  if (value.length > maxLength || CONTROL.test(value) || !value.isWellFormed()) {
    throw invalidArgument(field, `At most ${maxLength} characters, none of them a control character.`, { maxLength });
  }
  return value;
}

export function checkText(field: string, value: string, maxLength: number): string {
  if (!isStorable(value)) throw notStorable(field);
  if (value.length > maxLength) throw invalidArgument(field, `At most ${maxLength} characters.`, { maxLength });
  return value;
}

export function checkListLength(field: string, list: readonly unknown[], max: number): void {
  if (list.length > max) throw invalidArgument(field, `At most ${max} entries.`, { max });
}

/** PostgreSQL stores neither NUL nor half a surrogate pair. */
export function isStorable(text: string): boolean {
  return !text.includes("\u0000") && text.isWellFormed();
}

function notStorable(field: string): Error {
  return invalidArgument(field, "Text without NUL and without lone surrogates is needed.");
}

/** An id that somebody gave: present and not absurd; whether it exists is not decided here. */
export function checkId(field: string, value: string): string {
  if (value === "" || value.length > 128 || !isStorable(value)) throw invalidArgument(field, "An id is needed.");
  return value;
}

/** Maps of an object's owner: every event carries them, so they are bounded (100 entries, `maxBytes` in all). */
export function checkStringMap(field: string, map: Readonly<Record<string, string>>, maxBytes: number): Record<string, string> {
  const entries = Object.entries(map);
  checkListLength(field, entries, 100);
  let bytes = 0;
  for (const [key, value] of entries) {
    if (key === "" || key.length > 253 || CONTROL.test(key) || !key.isWellFormed()) {
      throw invalidArgument(field, "A key has 1–253 characters, none of them a control character.", { key: key.slice(0, 253) });
    }
    if (!isStorable(value)) throw notStorable(field);
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes > maxBytes) throw invalidArgument(field, `At most ${maxBytes} bytes in all.`, { maxBytes });
  return map;
}
