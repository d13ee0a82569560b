import { z } from "zod";
import { pause } from "../../../control-plane/backoff.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import type { DomainReference } from "../../../libvirt/protocol/structures.ts";
import { attempt } from "../driver-errors.ts";

export interface LostDevice {
  /** What libvirt calls it. */
  alias: string;
  /** A disk's file; null for an interface. */
  path: string | null;
}

const nodesSchema = z.object({ return: z.array(z.object({ "node-name": z.string(), drv: z.string(), file: z.string() })) });

const ATTEMPTS = 40;
const PAUSE_MS = 250;

/** Whether QEMU refused a device because it still has something of one that libvirt knows nothing of. */
export function isLost(error: unknown): boolean {
  return error instanceof LibvirtError && /failed to get .*lock|duplicate|already exists/i.test(error.message);
}

/**
 * Takes away what QEMU has of a device that libvirt does not know: its daemon ended between two steps, or QEMU let go of it late. Only what no
 * other device uses can go. False: something stays.
 */
export async function removeLost(client: LibvirtClient, dom: DomainReference, device: LostDevice, signal: AbortSignal): Promise<boolean> {
  const monitor = new Monitor(client, dom, signal);
  await monitor.run("device_del", { id: device.alias });
  for (let at = 0; at < ATTEMPTS; at++) {
    const isGone = device.path === null ? await removeBackend(monitor, device.alias) : await removeNodes(monitor, device.path);
    if (isGone) return true;
    await pause(PAUSE_MS, signal);
  }
  return false;
}

async function removeBackend(monitor: Monitor, alias: string): Promise<boolean> {
  const answer = await monitor.run("netdev_del", { id: `host${alias}` });
  return !answer.includes('"error"') || /not found/i.test(answer);
}

/** What stands on another goes first. */
async function removeNodes(monitor: Monitor, path: string): Promise<boolean> {
  const { return: nodes } = nodesSchema.parse(JSON.parse(await monitor.run("query-named-block-nodes", { flat: true })));
  const own = nodes.filter(({ file }) => file === path).sort((a, b) => Number(a.drv === "file") - Number(b.drv === "file"));
  for (const node of own) await monitor.run("blockdev-del", { "node-name": node["node-name"] });
  return own.length === 0;
}

/** QEMU's own, behind libvirt. */
class Monitor {
  readonly #client: LibvirtClient;
  readonly #dom: DomainReference;
  readonly #signal: AbortSignal;

  constructor(client: LibvirtClient, dom: DomainReference, signal: AbortSignal) {
    this.#client = client;
    this.#dom = dom;
    this.#signal = signal;
  }

  /** The answer, which may be an error of QEMU's. */
  async run(execute: string, args: object): Promise<string> {
    const cmd = JSON.stringify({ execute, arguments: args });
    const call = () => this.#client.call("domainQemuMonitorCommand", { dom: this.#dom, cmd }, { signal: this.#signal });
    return (await attempt("ask QEMU", call)).result;
  }
}
