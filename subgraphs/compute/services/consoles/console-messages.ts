import {
  type ConsoleFrame,
  ConsoleEnd as ProtoEnd,
  ConsoleKind as ProtoKind,
  type ConsoleSession as ProtoSession,
} from "../../../../schema/generated/proto/hypervisor/v1/consoles.ts";
import type { ConsoleEnd, ConsoleKind, ConsoleOutputFrame, ConsoleSessionView } from "./console-types.ts";

const KINDS: Partial<Record<ProtoKind, ConsoleKind>> = {
  [ProtoKind.SERIAL]: "SERIAL",
  [ProtoKind.TTY]: "TTY",
  [ProtoKind.SHELL]: "SHELL",
};

const ENDS: Partial<Record<ProtoEnd, ConsoleEnd>> = {
  [ProtoEnd.CLOSED]: "CLOSED",
  [ProtoEnd.STOPPED]: "STOPPED",
  [ProtoEnd.MIGRATED]: "MIGRATED",
  [ProtoEnd.IDLE]: "IDLE",
  [ProtoEnd.LOST]: "LOST",
};

/** What an agent says of a session. Throws for a kind that this version does not know. */
export function sessionFromMessage({ kind, size, ended, ...session }: ProtoSession): ConsoleSessionView {
  const known = KINDS[kind];
  if (known === undefined) throw new Error(`An agent has a console of the unknown kind ${kind}.`);
  return {
    id: session.id,
    nodeId: session.nodeId,
    instanceId: session.instanceId || null,
    kind: known,
    columns: size?.width ?? 80,
    rows: size?.height ?? 24,
    resizable: session.resizable,
    takesInput: session.takesInput,
    openedAt: session.openedAt ?? null,
    openedBy: session.openedBy,
    writer: session.writer || null,
    viewers: session.viewers,
    firstOffset: session.firstOffset,
    nextOffset: session.nextOffset,
    nextSequence: session.nextSequence,
    // An end of a kind that this version does not know is an end all the same.
    ended: ended === ProtoEnd.UNSPECIFIED ? null : (ENDS[ended] ?? "LOST"),
  };
}

export function frameFromMessage({ offset, data, skipped, session, message }: ConsoleFrame): ConsoleOutputFrame {
  return { offset, data, skipped, session: session ? sessionFromMessage(session) : null, message: message || null };
}
