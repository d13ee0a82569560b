const SECRET_NAME = String.raw`(?:authorization|cookie|set-cookie|kubeconfig|private-?key|[\w-]*token|[\w-]*password|[\w-]*passphrase|[\w-]*secret)`;
/** Keys whose values are secrets, whatever surrounds them: joinToken, clientSecret, Authorization. */
const SECRET_KEY = new RegExp(`^${SECRET_NAME}$`, "i");
/** The same in a finished line, where the value is a string: this reaches a child logger's bindings, too. */
const SECRET_MEMBER = new RegExp(String.raw`("${SECRET_NAME}":)"(?:[^"\\]|\\.)*"`, "gi");
/** Secrets inside running text: bearer tokens, JWTs, join tokens, passwords in URLs. */
const SECRET_TEXT = /\b(?:Bearer\s+[\w.~+/=-]+|eyJ[\w-]+\.[\w-]+\.[\w-]*|fgj_[\w-]+)|(?<=:\/\/[^\s/:@"]*:)[^\s/@"]+(?=@)/gi;
const CENSORED = "[redacted]";
/** Deeper than this a value is not shown: the log is for flat facts. */
const MAX_DEPTH = 6;

/** A log record's fields without the values of secret keys, at any depth: a copy, or the same object where there are none. */
export function redactFields<T extends object>(fields: T): T {
  return redactValue(fields, 0) as T;
}

/** A finished JSON line (or any text) without tokens, passwords in URLs and string values of secret keys. */
export function redactLine(line: string): string {
  return line.replace(SECRET_MEMBER, `$1"${CENSORED}"`).replace(SECRET_TEXT, CENSORED);
}

function redactValue(value: unknown, depth: number): unknown {
  if (Array.isArray(value)) return depth >= MAX_DEPTH ? "[deep]" : mapChanged(value, (item) => redactValue(item, depth + 1));
  if (!isPlain(value)) return value;
  if (depth >= MAX_DEPTH) return "[deep]";
  let copy: Record<string, unknown> | null = null;
  for (const [key, before] of Object.entries(value)) {
    const after = before !== null && before !== undefined && SECRET_KEY.test(key) ? CENSORED : redactValue(before, depth + 1);
    if (after === before) continue;
    copy ??= { ...value };
    copy[key] = after;
  }
  return copy ?? value;
}

function mapChanged(items: unknown[], change: (item: unknown) => unknown): unknown[] {
  const changed = items.map(change);
  return changed.some((item, index) => item !== items[index]) ? changed : items;
}

/** Errors and class instances are pino's to serialise; redactLine sees what comes of them. */
function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
