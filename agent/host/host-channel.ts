import type { Duplex } from "node:stream";

/** Why a value of the host could not be read; the `reason` of an UnavailableField. */
export type UnreadableReason =
  | "NOT_PRESENT"
  | "NO_PERMISSION"
  | "NOT_SUPPORTED"
  | "UNREADABLE"
  | "MALFORMED"
  /** A program that is needed is not on the host. */
  | "NOT_INSTALLED"
  /** The host is reached over libvirt alone. */
  | "NO_SHELL"
  | "TIMEOUT"
  /** The way to the host is gone. */
  | "HOST_UNREACHABLE";

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

/** A program of the host, found in its PATH; never a shell's line. */
export interface HostCommand {
  program: string;
  args: readonly string[];
  /** As root: by `sudo -n` where the host's account is another. The sudoers file that the project ships names what may run so. */
  privileged?: boolean;
}

export interface ExecOptions {
  /** 10 s by default; the program is killed then, and the failure is TIMEOUT. */
  timeoutMs?: number;
  /** Of its output; 4 MiB by default. A program that writes more is killed, and the failure is UNREADABLE. */
  maxBytes?: number;
  /** Written to its standard input. */
  input?: string;
  signal?: AbortSignal;
}

/** A program that ran to its end, whatever its exit code. */
export interface ExecResult {
  exitCode: number;
  stdout: string;
  /** Its last 4 KiB. */
  stderr: string;
}

/** A program that goes on writing. */
export interface FollowedCommand {
  /** Lines without their end, at most 64 KiB each (the rest of a longer one is dropped). Reading holds the program back. Ends with the program. */
  readonly lines: AsyncIterable<string>;
  /** Resolves with why it ended; never rejects. */
  readonly ended: Promise<{ exitCode: number | null; stderr: string }>;
  /** Kills it. Resolves when nothing of it is left. */
  close(): Promise<void>;
}

/** What a subject reads of a host, so that it can be fetched at once, and captured. */
export interface HostNeeds {
  /** Files, links and directories, as the shell's globs: "/sys/bus/pci/devices/*\/vendor". Absolute; `*`, `?` and `[…]` only. */
  paths: readonly string[];
  commands: readonly HostCommand[];
}

/**
 * How the agent reaches the host that it stands for: the machine it runs on, or another one over a remote shell. Subjects
 * (hardware, conditions, capacity) ask this and nothing else, so that they work the same on every host and on captured trees.
 * Paths are the host's own (`/sys/…`, `/proc/…`). Every failure is a HostReadError.
 */
export interface HostChannel {
  readonly kind: "local" | "ssh" | "libvirt" | "captured";
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
  /** What a symbolic link points to, as it is written there. NOT_SUPPORTED for what is no link. */
  readLink(path: string): Promise<string>;
  /** Runs a program to its end. Throws NOT_INSTALLED, NO_SHELL, NO_PERMISSION (privileged, and sudo refuses), TIMEOUT; an exit code other than 0 is an answer. */
  exec(command: HostCommand, options?: ExecOptions): Promise<ExecResult>;
  /** Starts a program that is read line by line, until it ends, is closed, or the signal aborts. Throws as `exec`. */
  follow(command: HostCommand, signal: AbortSignal): Promise<FollowedCommand>;
  /** A connection to a UNIX socket of the host. */
  connect(socketPath: string, signal: AbortSignal): Promise<Duplex>;
  /**
   * The same host for reading what is named, from one moment as far as can be: where each read would be a round trip, all of it is
   * fetched at once, by one command. Elsewhere it is the channel itself. Not to be kept.
   */
  snapshot(needs: HostNeeds): Promise<HostChannel>;
}
