import { open, readdir, readlink, statfs } from "node:fs/promises";
import { connect } from "node:net";
import os from "node:os";
import type { Duplex } from "node:stream";
import {
  type ExecOptions,
  type ExecResult,
  type FileSystemSize,
  type FollowedCommand,
  type HostChannel,
  type HostCommand,
  HostReadError,
  type InterfaceAddress,
} from "./host-channel.ts";
import { execProcess, followProcess } from "./process.ts";
import { asReadError } from "./read-error.ts";

const MAX_FILE_BYTES = 4 * 1024 * 1024;
const NUMERIC = new Intl.Collator("en", { numeric: true });

export interface LocalHostOptions {
  /** Stands for /sys; another one reads a captured tree. */
  sysRoot?: string;
  /** Stands for /proc. */
  procRoot?: string;
}

/** The machine that this process runs on, or a tree that was captured on another one. */
export class LocalHost implements HostChannel {
  readonly kind = "local";
  readonly #sysRoot: string;
  readonly #procRoot: string;

  constructor(options: LocalHostOptions = {}) {
    this.#sysRoot = options.sysRoot ?? "/sys";
    this.#procRoot = options.procRoot ?? "/proc";
  }

  async read(path: string): Promise<string> {
    try {
      return await readBounded(this.#locate(path), path);
    } catch (error) {
      throw asReadError(error, path);
    }
  }

  async list(path: string): Promise<string[]> {
    try {
      return (await readdir(this.#locate(path))).sort(NUMERIC.compare);
    } catch (error) {
      throw asReadError(error, path);
    }
  }

  async architecture(): Promise<string | null> {
    try {
      return (await this.read("/proc/sys/kernel/arch")).trim();
    } catch {
      // Kernels before 6.1 have no such file. This process's own kernel is the host's only where /proc is.
      return this.#procRoot === "/proc" ? os.machine() : null;
    }
  }

  async fileSystem(path: string): Promise<FileSystemSize> {
    try {
      const stats = await statfs(path);
      const inodes = stats.files > 0 ? { total: stats.files, available: stats.ffree } : null;
      return { totalBytes: stats.blocks * stats.bsize, availableBytes: stats.bavail * stats.bsize, inodes };
    } catch (error) {
      throw asReadError(error, path);
    }
  }

  async addresses(): Promise<InterfaceAddress[]> {
    const addresses: InterfaceAddress[] = [];
    for (const [name, entries] of Object.entries(os.networkInterfaces())) {
      for (const entry of entries ?? []) {
        addresses.push({ interface: name, address: entry.address, family: entry.family, loopback: entry.internal });
      }
    }
    return addresses;
  }

  async readLink(path: string): Promise<string> {
    try {
      return await readlink(this.#locate(path));
    } catch (error) {
      throw asReadError(error, path);
    }
  }

  exec(command: HostCommand, options: ExecOptions = {}): Promise<ExecResult> {
    return execProcess(command, options);
  }

  follow(command: HostCommand, signal: AbortSignal): Promise<FollowedCommand> {
    return followProcess(command, signal);
  }

  async connect(socketPath: string, signal: AbortSignal): Promise<Duplex> {
    const socket = connect({ path: socketPath, signal });
    const opened = Promise.withResolvers<void>();
    socket.once("connect", opened.resolve).once("error", opened.reject);
    try {
      await opened.promise;
      return socket.off("error", opened.reject);
    } catch (error) {
      throw asReadError(error, socketPath);
    }
  }

  async snapshot(): Promise<HostChannel> {
    return this;
  }

  #locate(path: string): string {
    if (path === "/sys" || path.startsWith("/sys/")) return this.#sysRoot + path.slice("/sys".length);
    if (path === "/proc" || path.startsWith("/proc/")) return this.#procRoot + path.slice("/proc".length);
    return path;
  }
}

/** Reads to the end, whatever size the file claims: in sysfs it is always 4096, in /proc 0. */
async function readBounded(file: string, path: string): Promise<string> {
  await using handle = await open(file, "r");
  const chunks: Buffer[] = [];
  let length = 0;
  for (;;) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length === 0 ? 4096 : 65_536), 0);
    if (bytesRead === 0) return Buffer.concat(chunks, length).toString("utf8");
    length += bytesRead;
    if (length > MAX_FILE_BYTES) throw new HostReadError("UNREADABLE", path, `${path} is larger than ${MAX_FILE_BYTES} bytes.`);
    chunks.push(buffer.subarray(0, bytesRead));
  }
}
