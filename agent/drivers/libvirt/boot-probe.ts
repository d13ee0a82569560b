import { createHash, randomUUID } from "node:crypto";
import type { Logger } from "../../../platform/observability/log.ts";
import { pause } from "../../control-plane/backoff.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import { LibvirtError } from "../../libvirt/errors.ts";
import type { DomainReference } from "../../libvirt/protocol/structures.ts";
import { DOMAIN_EVENT_DETAILS, START } from "../../libvirt/values.ts";
import { bootProgramDisk } from "./boot-program.ts";
import type { GuestCapabilities, HostCapabilities } from "./capabilities.ts";
import { isActive } from "./domain-state.ts";
import { makeProbeVolume, type ProbeVolume } from "./probe-volume.ts";
import { buildXml } from "./xml.ts";

/** As a domain's type: "qemu" is emulation (TCG). */
export type Accelerator = "kvm" | "qemu";

export interface ProbeTarget {
  host: Pick<HostCapabilities, "hostUuid" | "arch" | "cpu">;
  guest: Pick<GuestCapabilities, "emulator" | "accelerators">;
  /** Of libvirt and QEMU. */
  versions: string;
  machine: string;
}

export interface ProbeRecord {
  /** Of the host, its boot and its software: another key is another question. */
  key: string;
  works: boolean;
  /** Milliseconds since 1970. */
  at: number;
}

/** Keeps the last answer beyond the agent's end. */
export interface ProbeCache {
  read(): Promise<ProbeRecord | null>;
  write(record: ProbeRecord): Promise<void>;
}

export interface BootProbeOptions {
  client: LibvirtClient;
  log: Logger;
  cache?: ProbeCache;
  /** Tells one boot of the host from the next; null where nobody knows. */
  bootId?: (signal: AbortSignal) => Promise<string | null>;
}

export type ProbeResult = { works: true } | { works: false; why: string };

/** A guest that works is through in a tenth of a second; hosts may be busy. */
const LIMIT_MS = 10_000;
/** Without a disk to boot from, a guest that goes on this long is taken for one that works. */
const ALIVE_MS = 1500;
/** That it does not work is asked again: the host may have been too busy, or repaired. */
const FAILURE_KEPT_MS = 60 * 60_000;
const CLEAN_UP_MS = 10_000;

/**
 * Whether guests run under KVM, tried: /dev/kvm may be there and listed while guests do not start, stop with an internal error or run at a
 * snail's pace (nested virtualisation). A transient guest boots a program of one sector that switches the machine off when it got through.
 * Everything goes over libvirt, so that it is the same for a host that is reached by SSH.
 */
export class BootProbe {
  readonly #options: BootProbeOptions;
  #last: ProbeRecord | null = null;

  constructor(options: BootProbeOptions) {
    this.#options = options;
  }

  /** Errors are the client's: a guest that does not run is an answer. */
  async accelerator(target: ProbeTarget, signal: AbortSignal): Promise<Accelerator> {
    if (!target.guest.accelerators.has("kvm")) return "qemu";
    const { cache, log, bootId } = this.#options;
    const boot = (await bootId?.(signal).catch(() => null)) ?? "";
    const key = keyOf(target, boot);
    this.#last ??= (await cache?.read().catch(() => null)) ?? null;
    if (this.#last === null || !isCurrent(this.#last, key)) {
      const result = await this.boots("kvm", target, signal);
      if (result.works) log.info("guests run under KVM");
      else log.warn({ why: result.why }, "KVM is listed but guests do not run under it; they are emulated, which is slow");
      this.#last = { key, works: result.works, at: Date.now() };
      await cache?.write(this.#last).catch((error: unknown) => log.warn({ err: error }, "the boot probe's result was not saved"));
    }
    return this.#last.works ? "kvm" : "qemu";
  }

  /** Tries it now. */
  async boots(accelerator: Accelerator, target: ProbeTarget, signal: AbortSignal): Promise<ProbeResult> {
    const { client } = this.#options;
    const volume = await this.#volume(target, signal);
    const name = `fleetgraph-probe-${randomUUID().slice(0, 8)}`;
    const end = new DomainEnd(client);
    try {
      const xml = probeXml(name, accelerator, target, volume?.path ?? null);
      const { dom } = await client.call("domainCreateXml", { xmlDesc: xml, flags: START.AUTODESTROY }, { signal });
      try {
        return volume === null ? await this.#staysAlive(dom, signal) : await end.of(dom, signal);
      } finally {
        await client.call("domainDestroyFlags", { dom }, { timeoutMs: CLEAN_UP_MS }).catch(() => undefined);
      }
    } catch (error) {
      if (error instanceof LibvirtError) return { works: false, why: error.message };
      throw error;
    } finally {
      end.close();
      await volume?.remove(AbortSignal.timeout(CLEAN_UP_MS)).catch(() => undefined);
    }
  }

  /** Null where the guest has nothing to boot from: then it is only seen whether it stays alive. */
  async #volume({ machine }: ProbeTarget, signal: AbortSignal): Promise<ProbeVolume | null> {
    const { client, log } = this.#options;
    // Its power button is elsewhere.
    if (machine === "microvm") return null;
    try {
      return await makeProbeVolume(client, log, bootProgramDisk(), signal);
    } catch (error) {
      if (signal.aborted || !client.connected) throw error;
      log.warn({ err: error }, "no disk for the boot probe: whether guests get anywhere is not seen");
      return null;
    }
  }

  async #staysAlive(dom: DomainReference, signal: AbortSignal): Promise<ProbeResult> {
    await pause(ALIVE_MS, signal);
    const { state } = await this.#options.client.call("domainGetState", { dom }, { signal });
    return isActive(state) ? { works: true } : { works: false, why: "the guest stopped by itself" };
  }
}

/** How a guest ends, from libvirt's events; listens from its making, because a guest may be quicker than the answer to the call. */
class DomainEnd {
  readonly #ended = new Map<string, ProbeResult>();
  readonly #undo: () => void;
  #waiting: ((uuid: string) => void) | null = null;

  constructor(client: LibvirtClient) {
    this.#undo = client.on("domainLifecycle", ({ dom, event, detail }) => {
      const result = resultOf(event, detail);
      if (result === null || !dom.name.startsWith("fleetgraph-probe-") || this.#ended.has(dom.uuid)) return;
      this.#ended.set(dom.uuid, result);
      this.#waiting?.(dom.uuid);
    });
  }

  async of({ uuid }: DomainReference, signal: AbortSignal): Promise<ProbeResult> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
    const over = Promise.withResolvers<void>();
    this.#waiting = (ended) => ended === uuid && over.resolve();
    limit.addEventListener("abort", () => over.resolve(), { once: true });
    if (!this.#ended.has(uuid) && !limit.aborted) await over.promise;
    signal.throwIfAborted();
    return this.#ended.get(uuid) ?? { works: false, why: `the guest got nowhere within ${LIMIT_MS / 1000} s` };
  }

  close(): void {
    this.#undo();
  }
}

function resultOf(event: string, detail: number): ProbeResult | null {
  if (event === "SHUTDOWN" && DOMAIN_EVENT_DETAILS.SHUTDOWN[detail] === "GUEST") return { works: true };
  if (event === "STOPPED") {
    const how = DOMAIN_EVENT_DETAILS.STOPPED[detail] ?? "UNKNOWN";
    return how === "SHUTDOWN" ? { works: true } : { works: false, why: `the guest ended: ${how}` };
  }
  // "KVM internal error" pauses the guest.
  if (event === "SUSPENDED" || event === "CRASHED") return { works: false, why: `the guest was stopped by the hypervisor: ${event}` };
  return null;
}

function probeXml(name: string, accelerator: Accelerator, { host, guest, machine }: ProbeTarget, disk: string | null): string {
  return buildXml({
    domain: {
      "@type": accelerator,
      name,
      memory: { "@unit": "MiB", "#text": 32 },
      vcpu: 1,
      os: { type: { "@arch": host.arch, "@machine": machine, "#text": "hvm" }, boot: { "@dev": "hd" } },
      features: { acpi: true },
      // As instances get it: that is what may fail.
      cpu: accelerator === "kvm" && { "@mode": "host-passthrough" },
      on_poweroff: "destroy",
      on_crash: "destroy",
      devices: {
        emulator: guest.emulator,
        disk: disk !== null && {
          "@type": "file",
          "@device": "disk",
          driver: { "@name": "qemu", "@type": "raw" },
          source: { "@file": disk },
          target: { "@dev": "vda", "@bus": "virtio" },
          readonly: true,
        },
        controller: { "@type": "usb", "@model": "none" },
        memballoon: { "@model": "none" },
      },
    },
  });
}

function isCurrent({ key, works, at }: ProbeRecord, wanted: string): boolean {
  return key === wanted && (works || Math.abs(Date.now() - at) < FAILURE_KEPT_MS);
}

function keyOf({ host, guest, versions, machine }: ProbeTarget, bootId: string): string {
  const parts = [bootId, host.hostUuid, host.arch, host.cpu, guest.emulator, versions, machine];
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex");
}
