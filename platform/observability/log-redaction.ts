/** Keys whose values are secrets, whatever surrounds them: joinToken, x-api-token, clientSecret, Authorization. */
const SECRET_KEY = /^(?:authorization|cookie|set-cookie|kubeconfig|private-?key|.*token|.*password|.*passphrase|.*secret)$/i;
/** Secrets inside running text: bearer tokens, JWTs, join tokens, passwords in URLs. */
const SECRET_TEXT = /\b(?:Bearer\s+[\w.~+/=-]+|eyJ[\w-]+\.[\w-]+\.[\w-]*|fgj_[\w-]+)|(?<=:\/\/[^\s/:@]*:)[^\s/@]+(?=@)/gi;
const CENSORED = "[redacted]";
/** Deeper than this a value is shown as it is not: the log is for flat facts. */
const MAX_DEPTH = 6;

/** A copy of a log record's fields without its secrets; the same object where there are none. Errors and class instances pass as they are. */
export function redact<T extends object>(fields: T): T {
  return redactValue(fields, 0) as T;
}

/** A text without the tokens and passwords in it. */
export function redactText(text: string): string {
  return text.replace(SECRET_TEXT, CENSORED);
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value === "string") return redactText(value);
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

function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}
