import { dirname } from "node:path";
import type { DescribeSourceResponse, MigrationCheck } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import { DOMAIN_STATES } from "../../../libvirt/values.ts";
import type { InstancePlan } from "../../instance-driver.ts";
import type { HostAbilities } from "../abilities.ts";
import type { Domain } from "../domain-index.ts";
import { attempt, driverError } from "../driver-errors.ts";
import { type BootFile, type DescribedDisk, type GuestDescription, writeDescription } from "./description.ts";
import type { FileDigests } from "./file-digests.ts";
import { comparableCpu, type Guest, type GuestDisk, readGuest } from "./guest-xml.ts";
import type { ProbeFiles } from "./probe-files.ts";

export interface SourceDescriptionOptions {
  client: LibvirtClient;
  digests: FileDigests;
  probes: ProbeFiles;
  abilities(signal: AbortSignal): Promise<HostAbilities>;
}

/** In bytes: what the guest sees, and what the file takes. */
interface Sizes {
  capacity: number;
  physical: number;
}

/** What a guest needs of a host, and what keeps it from being moved at all. */
export class SourceDescription {
  readonly #options: SourceDescriptionOptions;
  readonly #client: LibvirtClient;

  constructor(options: SourceDescriptionOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  async make(plan: InstancePlan, domain: Domain, signal: AbortSignal): Promise<DescribeSourceResponse> {
    const { dom } = domain;
    const { probes } = this.#options;
    const { xml } = await attempt("read the domain", () => this.#client.call("domainGetXmlDesc", { dom }, { signal }));
    const guest = readGuest(xml, plan.instanceId);
    const failed = [
      ...stateChecks(domain),
      ...deviceChecks(domain),
      ...guestChecks(guest),
      ...(await this.#snapshotChecks(domain, signal)),
    ];
    // One that does not run has sizes and processors that cannot be asked.
    if (failed.length > 0) return { description: "", probeName: "", failed };
    const description = await this.#describe(plan, domain, guest, xml, signal);
    const probeName = await probes.make(
      plan.instanceId,
      description.disks.map(({ path }) => dirname(path)),
    );
    return { description: writeDescription(description), probeName, failed: [] };
  }

  async #describe(plan: InstancePlan, { dom }: Domain, guest: Guest, xml: string, signal: AbortSignal): Promise<GuestDescription> {
    const { abilities } = this.#options;
    const { arch, machine, accelerator, networks } = guest;
    const { emulator } = await abilities(signal);
    const machineOf = { emulatorbin: emulator, arch, machine, virttype: accelerator };
    const { capabilities } = await attempt("ask what the machine can be", () =>
      this.#client.call("connectGetDomainCapabilities", machineOf, { signal }),
    );
    const { hvVer } = await this.#client.call("connectGetVersion", {}, { signal });
    const disks: DescribedDisk[] = [];
    for (const disk of guest.disks) disks.push(await this.#disk(dom, disk, signal));
    return {
      version: 1,
      name: plan.name,
      type: plan.type,
      spec: plan.spec,
      nodeId: plan.nodeId,
      ...{ arch, accelerator, machine, networks, disks },
      qemuVersion: hvVer,
      cpu: comparableCpu(xml, capabilities),
      kernel: await this.#bootFile(guest.kernel, signal),
      initrd: await this.#bootFile(guest.initrd, signal),
    };
  }

  async #disk(dom: Domain["dom"], { target, path, kind, backing }: GuestDisk, signal: AbortSignal): Promise<DescribedDisk> {
    const { capacity, physical } = await this.#blockInfo(dom, path, signal);
    const bytesOf = async (file: string) => (await this.#volumeInfo(file, signal)).physical;
    const under = await Promise.all(backing.map(async (file) => ({ path: file, bytes: await bytesOf(file) })));
    const copiedBytes = Math.min(
      capacity,
      under.reduce((sum, { bytes }) => sum + bytes, physical),
    );
    return { target, kind, path, capacity, copiedBytes, backing: under };
  }

  /** libvirt does not find the disks of a microVM while it runs, which have no PCI: then what it knows of the file counts. */
  async #blockInfo(dom: Domain["dom"], path: string, signal: AbortSignal): Promise<Sizes> {
    try {
      return await this.#client.call("domainGetBlockInfo", { dom, path }, { signal });
    } catch (error) {
      if (!LibvirtError.isCode(error, "INTERNAL_ERROR")) throw driverError(error, `measure the disk ${path}`);
      return await this.#volumeInfo(path, signal);
    }
  }

  async #volumeInfo(path: string, signal: AbortSignal): Promise<Sizes> {
    return await attempt(`measure ${path}`, async () => {
      const { vol } = await this.#client.call("storageVolLookupByPath", { path }, { signal });
      const { capacity, allocation } = await this.#client.call("storageVolGetInfo", { vol }, { signal });
      return { capacity, physical: allocation };
    });
  }

  async #bootFile(path: string, signal: AbortSignal): Promise<BootFile | null> {
    return path === "" ? null : await this.#options.digests.of(path, signal);
  }

  async #snapshotChecks({ dom }: Domain, signal: AbortSignal): Promise<MigrationCheck[]> {
    const { ret } = await attempt("list snapshots", () =>
      this.#client.call("domainListAllSnapshots", { dom, needResults: false }, { signal }),
    );
    return ret === 0 ? [] : [failedCheck("Snapshots", `The VM has ${ret} snapshots, which cannot move with it: delete them first.`)];
  }
}

export function failedCheck(name: string, message: string): MigrationCheck {
  return { name, passed: false, message };
}

function stateChecks({ state }: Domain): MigrationCheck[] {
  if (DOMAIN_STATES[state] === "RUNNING") return [];
  return [failedCheck("State", "Only a guest that runs can be moved: start or resume it first.")];
}

/** Also those that are not plugged in now. */
function deviceChecks({ facts }: Domain): MigrationCheck[] {
  const given = facts.deviceNotes.map((note) => (note.kind === "pci" ? note.address : `USB ${note.port}`));
  if (given.length === 0) return [];
  return [failedCheck("DeviceAttached", `The guest has devices of this host: ${given.join(", ")}. Detach them first.`)];
}

function guestChecks({ bound, unmovable }: Guest): MigrationCheck[] {
  const failed: MigrationCheck[] = [];
  if (bound.length > 0)
    failed.push(failedCheck("HostDevices", `The guest uses what its host alone has: ${bound.join(", ")}. Detach it first.`));
  if (unmovable.length > 0) {
    failed.push(failedCheck("Disks", `Disks that are neither files nor on a network cannot move: ${unmovable.join(", ")}.`));
  }
  return failed;
}
