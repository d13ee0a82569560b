import { FleetError, invalidArgument, notFound } from "../../platform/errors/fleet-error.ts";
import type { PciInventory } from "../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { precondition } from "../drivers/shared/refusals.ts";
import { type HostChannel, HostReadError } from "../host/host-channel.ts";
import { refuseUsed } from "./device-choice.ts";

/** A driver makes its functions one by one. */
const WRITE_MS = 60_000;
const NEEDED_BY_THE_HOST = new Set(["RootDisk", "DiskInUse", "HostNetwork", "NotKnown"]);

/**
 * Whether the physical function may have so many virtual ones; false where it has. Throws NOT_FOUND, INVALID_ARGUMENT (more than it can have),
 * FAILED_PRECONDITION with a reason: NotSupported, InUse (of itself or one of its functions), and what the host needs a function for.
 */
export function checkVfs({ devices }: PciInventory, address: string, count: number): boolean {
  const device = devices.find((one) => one.address === address);
  if (device === undefined) throw notFound("Device", `PCI device ${address}`);
  const { sriov, user } = device;
  if (sriov === undefined) throw precondition("NotSupported", `The device ${address} can have no virtual functions.`);
  if (!Number.isInteger(count) || count < 0 || count > sriov.totalVfs) {
    throw invalidArgument("count", `The device ${address} can have 0 to ${sriov.totalVfs} virtual functions.`, { total: sriov.totalVfs });
  }
  if (sriov.enabledVfs === count) return false;
  refuseUsed(`The device ${address}`, user, null);
  for (const vf of sriov.functions) {
    refuseUsed(`The virtual function ${vf.address}`, vf.user, null);
    const passthrough = devices.find((one) => one.address === vf.address)?.passthrough;
    if (passthrough && NEEDED_BY_THE_HOST.has(passthrough.reason))
      throw precondition(passthrough.reason, `${vf.address}: ${passthrough.message}`);
  }
  return true;
}

/** The kernel goes from one number to another only through none. Throws FAILED_PRECONDITION (NoShell, NoPermission, KernelRefused), UNAVAILABLE. */
export async function writeVfs(host: HostChannel, address: string, enabled: number, count: number, signal: AbortSignal): Promise<void> {
  if (enabled > 0) await write(host, address, 0, signal);
  if (count > 0) await write(host, address, count, signal);
}

async function write(host: HostChannel, address: string, count: number, signal: AbortSignal): Promise<void> {
  const command = { program: "tee", args: [`/sys/bus/pci/devices/${address}/sriov_numvfs`], privileged: true };
  try {
    const { exitCode, stderr } = await host.exec(command, { input: `${count}\n`, timeoutMs: WRITE_MS, signal });
    if (exitCode === 0) return;
    throw precondition("KernelRefused", `The kernel did not make ${count} virtual functions: ${stderr.trim().slice(0, 500)}`);
  } catch (error) {
    if (!(error instanceof HostReadError)) throw error;
    if (error.reason === "NO_SHELL") throw precondition("NoShell", error.message);
    if (error.reason === "NO_PERMISSION") throw precondition("NoPermission", error.message);
    throw new FleetError("UNAVAILABLE", `The host did not answer: ${error.message}`, { reason: "HostUnreachable", cause: error });
  }
}
