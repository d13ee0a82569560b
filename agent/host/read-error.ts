import { HostReadError, type UnreadableReason } from "./host-channel.ts";

const REASONS: Record<string, UnreadableReason> = {
  ENOENT: "NOT_PRESENT",
  ENOTDIR: "NOT_PRESENT",
  ENXIO: "NOT_PRESENT",
  ENODEV: "NOT_PRESENT",
  EACCES: "NO_PERMISSION",
  EPERM: "NO_PERMISSION",
  // What sysfs attributes answer when the hardware or its driver does not implement them.
  EOPNOTSUPP: "NOT_SUPPORTED",
  EINVAL: "NOT_SUPPORTED",
  EIO: "NOT_SUPPORTED",
};

/** As the C library writes them, in English. */
const SAID: Record<string, keyof typeof REASONS> = {
  "No such file or directory": "ENOENT",
  "Not a directory": "ENOTDIR",
  "No such device or address": "ENXIO",
  "No such device": "ENODEV",
  "Permission denied": "EACCES",
  "Operation not permitted": "EPERM",
  "Operation not supported": "EOPNOTSUPP",
  "Not supported": "EOPNOTSUPP",
  "Invalid argument": "EINVAL",
  "Input/output error": "EIO",
  "I/O error": "EIO",
};

const PHRASES: Record<UnreadableReason, string> = {
  NOT_PRESENT: "is not there",
  NO_PERMISSION: "may not be read by the agent",
  NOT_SUPPORTED: "is not supported by this hardware or kernel",
  UNREADABLE: "cannot be read",
  MALFORMED: "is not in the form that is expected",
  NOT_INSTALLED: "is not installed",
  NO_SHELL: "needs a shell on the host",
  TIMEOUT: "did not answer in time",
  HOST_UNREACHABLE: "cannot be reached",
};

/** A failed read with the usual message for its reason. */
export function readError(reason: UnreadableReason, path: string, cause?: unknown): HostReadError {
  return new HostReadError(reason, path, `${path} ${PHRASES[reason]}.`, cause);
}

/** What the file system of this machine answered. */
export function asReadError(error: unknown, path: string): HostReadError {
  if (error instanceof HostReadError) return error;
  return readError(REASONS[(error as NodeJS.ErrnoException).code ?? ""] ?? "UNREADABLE", path, error);
}

/** What a program of another machine said about a file: its last words are the C library's. */
export function reasonSaid(message: string): UnreadableReason {
  const code = SAID[message.trim()];
  return (code === undefined ? undefined : REASONS[code]) ?? "UNREADABLE";
}
