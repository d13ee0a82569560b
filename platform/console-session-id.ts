import { randomBytes } from "node:crypto";

/** What is behind a console: a serial line, a container's terminal, or a shell on the host itself. */
export type ConsoleKindName = "serial" | "tty" | "shell";

const ID = /^con-(serial|tty|shell)-(.+)-[0-9a-f]{32}$/;

/**
 * The id of a new console session, made by its agent: it names the kind and the node, so that the control plane finds the agent and knows
 * the rights without a table, and has 128 random bits. Whoever alters a part of an id names a session that no agent has.
 */
export function newConsoleSessionId(kind: ConsoleKindName, nodeId: string): string {
  return `con-${kind}-${nodeId}-${randomBytes(16).toString("hex")}`;
}

/** What an id names; null for what cannot be one. Whether there is such a session, only its agent knows. */
export function readConsoleSessionId(id: string): { kind: ConsoleKindName; nodeId: string } | null {
  const [, kind, nodeId] = ID.exec(id) ?? [];
  return kind === undefined || nodeId === undefined ? null : { kind: kind as ConsoleKindName, nodeId };
}
