import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { LibvirtClient } from "../libvirt/client.ts";
import { LibvirtError, type LibvirtErrorName } from "../libvirt/errors.ts";
import type { ProcedureArguments, ProcedureName, ProcedureResult } from "../libvirt/protocol/table.ts";
import { LIST_NODE_DEVICES, LIST_POOLS } from "../libvirt/values.ts";
import { type FileSystemSize, type HostChannel, HostReadError, type UnreadableReason } from "./host-channel.ts";

/** Which node devices are asked for. */
export type NodeDeviceKind = keyof typeof LIST_NODE_DEVICES;

/** Capabilities take a daemon that has just begun ten seconds. */
const ASK_MS = 30_000;
/** Of one kind: virtual functions of a full machine are some thousands. */
const MOST_DEVICES = 8192;
const MOST_POOLS = 256;
/** The client has four calls under way at once. */
const AT_ONCE = 16;

const REASONS: Partial<Record<LibvirtErrorName, UnreadableReason>> = {
  NO_SUPPORT: "NOT_SUPPORTED",
  OPERATION_UNSUPPORTED: "NOT_SUPPORTED",
  CONFIG_UNSUPPORTED: "NOT_SUPPORTED",
  ARGUMENT_UNSUPPORTED: "NOT_SUPPORTED",
  OPERATION_DENIED: "NO_PERMISSION",
  ACCESS_DENIED: "NO_PERMISSION",
};

/**
 * A host of which only its libvirt is reached: it has no shell, and so no files and no programs. What libvirt knows of its hardware is asked by
 * `ask`, `devices` and `capabilities` (agent/hardware/libvirt). A snapshot asks once for what several readers want.
 */
export class LibvirtOnlyHost implements HostChannel {
  readonly kind = "libvirt";
  readonly client: LibvirtClient;
  /** Null: nothing is kept. */
  readonly #answers: Map<string, Promise<unknown>> | null;

  /** The client is the caller's to close. */
  constructor(client: LibvirtClient, answers: Map<string, Promise<unknown>> | null = null) {
    this.client = client;
    this.#answers = answers;
  }

  read = noShell;
  list = noShell;
  readLink = noShell;
  exec = noShell;
  follow = noShell;
  connect = noShell;
  addresses = () => noShell("addresses");

  async architecture(): Promise<string | null> {
    return (await this.ask("nodeGetInfo", {})).model || null;
  }

  /** libvirt tells of its storage pools only: the size of the largest one that runs. NOT_PRESENT without one. */
  async fileSystem(): Promise<FileSystemSize> {
    const { pools } = await this.ask("connectListAllStoragePools", { flags: LIST_POOLS.ACTIVE });
    const asked = pools.slice(0, MOST_POOLS).map((pool) => this.ask("storagePoolGetInfo", { pool }).catch(goneOrThrow));
    const [largest] = (await Promise.all(asked)).flatMap((size) => size ?? []).sort((a, b) => b.capacity - a.capacity);
    if (largest === undefined) throw new HostReadError("NOT_PRESENT", "storage pools", "No storage pool of the host's libvirt is running.");
    return { totalBytes: largest.capacity, availableBytes: largest.available, inodes: null };
  }

  async snapshot(): Promise<LibvirtOnlyHost> {
    if (!this.client.connected) throw this.#away("snapshot");
    return new LibvirtOnlyHost(this.client, new Map());
  }

  /** libvirt's answer; every failure is a HostReadError. Does not wait for a connection. */
  async ask<P extends ProcedureName>(procedure: P, args: ProcedureArguments<P>): Promise<ProcedureResult<P>> {
    if (!this.client.connected) throw this.#away(procedure);
    try {
      return await this.client.call(procedure, args, { timeoutMs: ASK_MS });
    } catch (error) {
      throw asReadError(error, procedure);
    }
  }

  /** What libvirt says of its host: the XML of `virsh capabilities`. */
  capabilities(): Promise<string> {
    return this.#once("capabilities", async () => (await this.ask("connectGetCapabilities", {})).capabilities);
  }

  /** The XML of every node device of this kind, by name; what is gone in the meantime is left out. */
  devices(kind: NodeDeviceKind): Promise<string[]> {
    return this.#once(kind, async () => {
      const { devices } = await this.ask("connectListAllNodeDevices", { flags: LIST_NODE_DEVICES[kind] });
      const names = devices.map(({ name }) => name).sort();
      if (names.length > MOST_DEVICES) {
        const message = `libvirt lists ${names.length} devices (${kind}), more than the ${MOST_DEVICES} that are read.`;
        throw new HostReadError("UNREADABLE", kind, message);
      }
      const described: string[] = [];
      for (let start = 0; start < names.length; start += AT_ONCE) {
        const some = names.slice(start, start + AT_ONCE).map((name) => this.ask("nodeDeviceGetXmlDesc", { name }).catch(goneOrThrow));
        described.push(...(await Promise.all(some)).flatMap((answer) => answer?.xml ?? []));
      }
      return described;
    });
  }

  #once<T>(key: string, read: () => Promise<T>): Promise<T> {
    const known = this.#answers?.get(key) as Promise<T> | undefined;
    if (known !== undefined) return known;
    const answer = read();
    this.#answers?.set(key, answer);
    return answer;
  }

  #away(what: string): HostReadError {
    const why = this.client.lastError?.message ?? "libvirt has not answered yet.";
    return new HostReadError("HOST_UNREACHABLE", what, why, this.client.lastError);
  }
}

function asReadError(error: unknown, procedure: string): HostReadError {
  const reason = reasonOf(error);
  return new HostReadError(reason, procedure, `libvirt does not answer ${procedure}: ${(error as Error).message}`, error);
}

function reasonOf(error: unknown): UnreadableReason {
  if (error instanceof LibvirtError) return (error.codeName !== "UNKNOWN" && REASONS[error.codeName]) || "UNREADABLE";
  if (!(error instanceof FleetError)) return "UNREADABLE";
  if (error.code === "DEADLINE_EXCEEDED") return "TIMEOUT";
  return error.code === "UNAVAILABLE" || error.code === "CANCELLED" ? "HOST_UNREACHABLE" : "UNREADABLE";
}

/** What was listed may be gone when it is asked for. */
function goneOrThrow(error: unknown): null {
  if (LibvirtError.isCode((error as Error).cause, "NO_NODE_DEVICE", "NO_STORAGE_POOL")) return null;
  throw error;
}

async function noShell(what: string | { program: string }): Promise<never> {
  const name = typeof what === "string" ? what : what.program;
  throw new HostReadError("NO_SHELL", name, `${name} needs a shell: this host is reached over libvirt alone.`);
}
