/** Why a value of the host could not be read; the `reason` of an UnavailableField. */
export type UnreadableReason = "NOT_PRESENT" | "NO_PERMISSION" | "NOT_SUPPORTED" | "UNREADABLE" | "MALFORMED";

/** A read that failed, with a reason that a program can act on and a message for people. */
export class HostReadError extends Error {
  override readonly name = "HostReadError";
  readonly reason: UnreadableReason;
  readonly path: string;

  constructor(reason: UnreadableReason, path: string, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.reason = reason;
    this.path = path;
  }
}

/** A file system's size. `availableBytes` is what an unprivileged process may still use. */
export interface FileSystemSize {
  totalBytes: number;
  availableBytes: number;
  /** Null where the file system has no fixed number of inodes (btrfs, some network file systems). */
  inodes: { total: number; available: number } | null;
}

/** An address on an interface that is up. */
export interface InterfaceAddress {
  interface: string;
  address: string;
  family: "IPv4" | "IPv6";
  loopback: boolean;
}

/**
 * How the agent reaches the host that it stands for: the machine it runs on, or another one over a remote shell. Subjects
 * (hardware, conditions, capacity) ask this and nothing else, so that they work the same on every host and on captured trees.
 * Paths are the host's own (`/sys/…`, `/proc/…`). Every failure is a HostReadError.
 */
export interface HostChannel {
  /** A text file, whole, at most 4 MiB. sysfs and /proc answer from one moment. */
  read(path: string): Promise<string>;
  /** The names in a directory, sorted as numbers where they hold numbers (cpu2 before cpu10). */
  list(path: string): Promise<string[]>;
  /** As `uname -m` writes it; null where the host does not tell. */
  architecture(): Promise<string | null>;
  /** The file system that holds this path. */
  fileSystem(path: string): Promise<FileSystemSize>;
  /** Of interfaces that are up. */
  addresses(): Promise<InterfaceAddress[]>;
}
