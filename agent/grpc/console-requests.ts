import { invalidArgument } from "../../platform/errors/fleet-error.ts";
import type { TerminalSize as WireSize } from "../../schema/generated/proto/hypervisor/v1/common.ts";
import {
  ConsoleKind,
  type FollowConsoleRequest,
  type OpenConsoleRequest,
  type ResizeConsoleRequest,
  type WriteConsoleRequest,
} from "../../schema/generated/proto/hypervisor/v1/consoles.ts";
import type { TerminalSize } from "../drivers/console-driver.ts";
import { INSTANCE_ID } from "../instances/instance-store.ts";

const MAX_SIDE = 1000;
const MAX_INPUT_BYTES = 64 * 1024;
const MAX_SUBJECT = 256;
const MAX_KEY = 128;

/** Throws INVALID_ARGUMENT. */
export function checkOpen({ instanceId, kind, subject, writerKey, size }: OpenConsoleRequest): { size: TerminalSize | null } {
  const isShell = kind === ConsoleKind.SHELL;
  if (isShell && instanceId !== "") throw invalidArgument("instance_id", "A shell is the node's, not an instance's.");
  if (!isShell && !INSTANCE_ID.test(instanceId)) throw invalidArgument("instance_id", "An instance's id is inst- and letters and digits.");
  // Who only reads has no key.
  if (writerKey === "") checkSubject(subject);
  else checkWriter(writerKey, subject);
  return { size: checkSize(size) };
}

/** Throws INVALID_ARGUMENT. */
export function checkFollow({ offset, subject }: FollowConsoleRequest): void {
  if (!Number.isSafeInteger(offset) || offset < -1) throw invalidArgument("offset", "It is a byte's number from 0 on, or -1.");
  checkSubject(subject);
}

/** Throws INVALID_ARGUMENT. */
export function checkWrite({ writerKey, subject, sequence, data }: WriteConsoleRequest): void {
  checkWriter(writerKey, subject);
  if (!Number.isSafeInteger(sequence) || sequence < 0) throw invalidArgument("sequence", "It counts from 1 on; 0: not counted.");
  if (data.length > MAX_INPUT_BYTES) throw invalidArgument("data", `At most ${MAX_INPUT_BYTES} bytes are typed at once.`);
}

/** Throws INVALID_ARGUMENT. */
export function checkResize({ writerKey, size }: ResizeConsoleRequest): TerminalSize {
  checkWriter(writerKey, "");
  const checked = checkSize(size);
  if (checked === null) throw invalidArgument("size", "It is not said how large the terminal is.");
  return checked;
}

export function checkSubject(subject: string): void {
  if (subject.length > MAX_SUBJECT) throw invalidArgument("subject", `It has at most ${MAX_SUBJECT} characters.`);
}

function checkWriter(writerKey: string, subject: string): void {
  if (writerKey === "" || writerKey.length > MAX_KEY) throw invalidArgument("writer_key", `It has 1 to ${MAX_KEY} characters.`);
  checkSubject(subject);
}

/** Null: none is said. */
function checkSize(size: WireSize | undefined): TerminalSize | null {
  const { width: columns = 0, height: rows = 0 } = size ?? {};
  if (columns === 0 && rows === 0) return null;
  for (const side of [columns, rows]) {
    if (!Number.isInteger(side) || side < 1 || side > MAX_SIDE)
      throw invalidArgument("size", `A terminal has 1 to ${MAX_SIDE} columns and rows.`);
  }
  return { columns, rows };
}
