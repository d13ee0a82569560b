const COLOURS: Record<string, number> = { trace: 90, debug: 36, info: 32, warn: 33, error: 31, fatal: 35 };

/** One JSON log line as a line for a person: time, level, name, message, then the other fields; a stack on lines of its own. */
export function prettyLine(line: string, colour = process.stderr.isTTY === true): string {
  let record: Record<string, unknown>;
  try {
    record = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { level, time, name, msg, err, ...rest } = record;
  const label = String(level).toUpperCase().padEnd(5);
  const shown = colour ? `\u001b[${COLOURS[String(level)] ?? 0}m${label}\u001b[0m` : label;
  const fields = Object.entries(rest).map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const parts = [String(time).slice(11, 23), shown, `${String(name)}:`, ...(msg === undefined ? [] : [String(msg)]), ...fields];
  return `${parts.join(" ")}${stackOf(err)}\n`;
}

function stackOf(error: unknown): string {
  if (typeof error !== "object" || error === null) return "";
  const { stack, message } = error as { stack?: unknown; message?: unknown };
  return `\n    ${String(stack ?? message).replaceAll("\n", "\n    ")}`;
}
