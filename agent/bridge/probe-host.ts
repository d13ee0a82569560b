import { FleetError } from "../../platform/errors/fleet-error.ts";
import type { Logger } from "../../platform/observability/log.ts";
import type { HostAccess, ProbedHost } from "../../schema/generated/proto/hypervisor/v1/bridge.ts";
import { CAPACITY_NEEDS, readCapacity } from "../capacity.ts";
import { versionText } from "../drivers/libvirt/abilities.ts";
import { readLibvirtFacts } from "../drivers/libvirt/libvirt-facts.ts";
import { HOST_NEEDS, type LibvirtFacts, readHostFacts } from "../hardware/host-facts.ts";
import { HARDWARE_NEEDS, readInventory } from "../hardware/inventory.ts";
import type { HostChannel, HostNeeds } from "../host/host-channel.ts";
import { LibvirtOnlyHost } from "../host/libvirt-only-host.ts";
import { hostKeyFingerprint } from "../host/ssh/host-keys.ts";
import { openSshHost } from "../host/ssh/ssh-host.ts";
import { LibvirtClient } from "../libvirt/client.ts";
import { parseLibvirtUri } from "../libvirt/transport/libvirt-uri.ts";
import { sshOptions } from "./reach-host.ts";
import { DISK_PATH } from "./reached-host.ts";

/** How far the probe of a host is. */
export type ProbeStep = "RESOLVE" | "CONNECT" | "HOST_KEY" | "AUTHENTICATE" | "LIBVIRT" | "HARDWARE";

/** Older ones lack what snapshots and migration are made with. */
const OLDEST_LIBVIRT = 6_000_000;
const PROBE_MS = 45_000;
const LIBVIRT_MS = 15_000;

/**
 * Connects to a host once, and says what is there. Nothing is kept, and nothing is changed on it. Throws, with details.step: what SshConnection
 * throws; FAILED_PRECONDITION with the reason NoLibvirt, LibvirtTooOld, NoHardware; DEADLINE_EXCEEDED.
 */
export async function probeHost(
  access: HostAccess,
  tell: (step: ProbeStep) => void,
  signal: AbortSignal,
  log: Logger,
): Promise<ProbedHost> {
  let step: ProbeStep = "RESOLVE";
  const next = (reached: ProbeStep) => {
    step = reached;
    tell(reached);
  };
  const limited = AbortSignal.any([signal, AbortSignal.timeout(PROBE_MS)]);
  try {
    const { way } = parseLibvirtUri(access.uri);
    if (way.kind !== "ssh") return await probeOverSocket(access, next, limited, log);
    await using host = openSshHost({ ...sshOptions(way, access, log), onStep: next });
    await host.attempt(limited);
    const { facts, close } = await askLibvirt(access.uri, host, next, limited, log);
    await close();
    next("HARDWARE");
    const { hostKey } = host;
    return {
      ...(await readHardware(host, facts)),
      hostKey: hostKey ?? "",
      hostKeyFingerprint: hostKey === null ? "" : hostKeyFingerprint(hostKey),
      shell: host.hasShell === true,
    };
  } catch (error) {
    throw atStep(signal.aborted ? signal.reason : error, step, limited);
  }
}

async function probeOverSocket(access: HostAccess, next: (step: ProbeStep) => void, signal: AbortSignal, log: Logger): Promise<ProbedHost> {
  const { facts, client, close } = await askLibvirt(access.uri, null, next, signal, log);
  try {
    next("HARDWARE");
    return { ...(await readHardware(new LibvirtOnlyHost(client), facts)), hostKey: "", hostKeyFingerprint: "", shell: false };
  } finally {
    await close();
  }
}

/** What libvirt says about itself. The caller closes the client, or has it closed by a failure. */
async function askLibvirt(uri: string, host: HostChannel | null, next: (step: ProbeStep) => void, signal: AbortSignal, log: Logger) {
  next("LIBVIRT");
  const client = LibvirtClient.open({ uri, log, callTimeoutMs: LIBVIRT_MS, ...(host && { host }) });
  const close = () => client.close();
  try {
    await waitForLibvirt(client, signal);
    const { libVer } = await client.call("connectGetLibVersion", {}, { signal });
    if (libVer < OLDEST_LIBVIRT) {
      const message = `libvirt ${versionText(libVer)} on this host is too old: ${versionText(OLDEST_LIBVIRT)} or newer is needed.`;
      throw new FleetError("FAILED_PRECONDITION", message, { reason: "LibvirtTooOld", details: { version: versionText(libVer) } });
    }
    // What boots there is tried when the host is in the fleet, not before.
    const untried = () => Promise.reject(new Error("not tried"));
    return { client, close, facts: await readLibvirtFacts(client, untried, signal) };
  } catch (error) {
    await close();
    throw error;
  }
}

async function waitForLibvirt(client: LibvirtClient, signal: AbortSignal): Promise<void> {
  const patience = AbortSignal.timeout(LIBVIRT_MS);
  try {
    await client.whenConnected(AbortSignal.any([signal, patience]));
  } catch (error) {
    signal.throwIfAborted();
    const why = client.lastError?.message ?? `Nothing answered within ${LIBVIRT_MS / 1000} s.`;
    throw new FleetError("FAILED_PRECONDITION", `libvirt cannot be used on this host. ${why}`, { reason: "NoLibvirt", cause: error });
  }
}

const PROBE_NEEDS: HostNeeds = {
  paths: [...new Set([...HARDWARE_NEEDS.paths, ...HOST_NEEDS.paths, ...CAPACITY_NEEDS.paths])],
  commands: [...HARDWARE_NEEDS.commands, ...HOST_NEEDS.commands, ...CAPACITY_NEEDS.commands],
};

async function readHardware(channel: HostChannel, facts: LibvirtFacts) {
  const host = await channel.snapshot(PROBE_NEEDS);
  const { hardware } = await readInventory(host);
  if (hardware.cpu === undefined || hardware.memory === undefined) {
    const why = hardware.unavailable.map(({ field, message }) => `${field}: ${message}`).join(" ");
    throw new FleetError("FAILED_PRECONDITION", `The host's CPUs and memory cannot be read. ${why}`, { reason: "NoHardware" });
  }
  return {
    hardware,
    host: await readHostFacts(host, facts),
    capacity: await readCapacity(host, DISK_PATH),
    supportedInstanceTypes: [],
  };
}

/** The failure with the step at which it happened, which the host's own error may know better. */
function atStep(error: unknown, step: ProbeStep, limited: AbortSignal): FleetError {
  const failure = limited.aborted && error === limited.reason ? tooLate() : FleetError.from(error);
  if (failure.details["step"] !== undefined) return failure;
  return new FleetError(failure.code, failure.message, { reason: failure.reason, details: { ...failure.details, step }, cause: failure });
}

function tooLate(): FleetError {
  return new FleetError("DEADLINE_EXCEEDED", `The host was not looked at within ${PROBE_MS / 1000} s.`, { reason: "ProbeTooSlow" });
}
