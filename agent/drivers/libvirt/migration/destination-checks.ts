import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { InstanceType, NetworkSpec } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { CheckDestinationResponse, MigrationCheck } from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import type { HostAbilities } from "../abilities.ts";
import { readCapabilities } from "../capabilities.ts";
import { attempt } from "../driver-errors.ts";
import type { Networks } from "../networks.ts";
import type { SecurityGroups } from "../security-groups.ts";
import type { InstanceStorage } from "../storage/instance-storage.ts";
import type { DiskType } from "../storage/storage-plan.ts";
import type { BootFile, DescribedDisk, GuestDescription } from "./description.ts";
import type { FileDigests } from "./file-digests.ts";
import { seesProbe } from "./probe-files.ts";

export interface DestinationChecksOptions {
  client: LibvirtClient;
  storage: Pick<InstanceStorage, "places" | "freeBytes">;
  networks: Networks;
  securityGroups: SecurityGroups;
  digests: FileDigests;
  abilities(signal: AbortSignal): Promise<HostAbilities>;
}

/** What a host needs of free space beyond what is copied: a copy has tables of its own. */
const SPARE_BYTES = 64 * 2 ** 20;
const CPU_CANNOT = 0;
const TYPES: readonly DiskType[] = ["", "ssd", "hdd"];

type Verdict = string | null;

/** Whether this host can take a guest, by name. Changes nothing, but for the default network. */
export class DestinationChecks {
  readonly #options: DestinationChecksOptions;

  constructor(options: DestinationChecksOptions) {
    this.#options = options;
  }

  async run(guest: GuestDescription, probeName: string, signal: AbortSignal): Promise<CheckDestinationResponse> {
    const abilities = await this.#options.abilities(signal);
    const sharing = await this.#sharing(guest, probeName);
    const checks: MigrationCheck[] = [];
    const add = (name: string, verdict: Verdict) => checks.push({ name, passed: verdict === null, message: verdict ?? "" });
    add("Hypervisor", hypervisorVerdict(guest, abilities, (await this.#options.client.call("connectGetVersion", {}, { signal })).hvVer));
    add("MachineType", await this.#machineVerdict(guest, signal));
    add("CpuBaseline", await this.#cpuVerdict(guest, abilities, signal));
    add("Networks", await asVerdict(this.#networksVerdict(guest, signal)));
    add("SecurityGroups", await asVerdict(this.#options.securityGroups.choose(guest.spec.network?.securityGroups ?? [], signal)));
    add("Images", await this.#imagesVerdict(guest, signal));
    add("HostDevices", null);
    add("Disks", sharing.verdict);
    const copied = sharing.copiesDisks ? guest.disks.filter(({ kind }) => kind === "own") : [];
    add("Space", await this.#spaceVerdict(guest, copied, signal));
    return { checks, copiesDisks: sharing.copiesDisks, bytesToCopy: bytesOf(copied) };
  }

  /** A kernel or an initial RAM disk where this host has it: among its images under the same name, or under the same path. Null: nowhere. */
  async bootFile(wanted: BootFile, signal: AbortSignal): Promise<string | null> {
    const { digests, storage } = this.#options;
    for (const path of [join(storage.places.images, basename(wanted.path)), wanted.path]) {
      if ((await digests.of(path, signal))?.sha256 === wanted.sha256) return path;
    }
    return null;
  }

  /** Disks of its own are shared where this host keeps disks in the very same directory; everything else must be seen under its path. */
  async #sharing({ disks }: GuestDescription, probeName: string): Promise<{ copiesDisks: boolean; verdict: Verdict }> {
    const { instances } = this.#options.storage.places;
    const seen = new Map<DescribedDisk, boolean>();
    for (const disk of disks) seen.set(disk, await seesProbe(dirname(disk.path), probeName));
    const own = disks.filter(({ kind }) => kind !== "shared");
    const isShared = (disk: DescribedDisk) => seen.get(disk) === true && instances.includes(dirname(disk.path));
    const apart = own.filter((disk) => !isShared(disk));
    const copiesDisks = apart.length > 0;
    const lost = disks.filter((disk) => disk.kind === "shared" && seen.get(disk) !== true);
    if (lost.length > 0) return { copiesDisks, verdict: `This host does not see ${pathsOf(lost)}, which is attached to the guest.` };
    if (copiesDisks && apart.length < own.length) {
      return { copiesDisks, verdict: `Of the guest's disks this host shares some and does not see ${pathsOf(apart)}: share all or none.` };
    }
    const missing = copiesDisks ? [] : await missingBases(own);
    return {
      copiesDisks,
      verdict: missing.length === 0 ? null : `This host does not see ${missing.join(", ")}, on which the disks stand.`,
    };
  }

  async #machineVerdict({ arch, machine }: GuestDescription, signal: AbortSignal): Promise<Verdict> {
    const { client } = this.#options;
    const { capabilities } = await attempt("read the host's capabilities", () => client.call("connectGetCapabilities", {}, { signal }));
    const { guest } = readCapabilities(capabilities);
    return guest?.machines.has(machine) === true ? null : `QEMU on this host knows no machine ${machine} (${arch}): it is another version.`;
  }

  async #cpuVerdict(
    { arch, machine, accelerator, cpu }: GuestDescription,
    { emulator }: HostAbilities,
    signal: AbortSignal,
  ): Promise<Verdict> {
    if (cpu === "") return null;
    try {
      const args = { emulator, arch, machine, virttype: accelerator, xmlCpu: cpu };
      const { result } = await this.#options.client.call("connectCompareHypervisorCpu", args, { signal });
      return result === CPU_CANNOT
        ? "This host's processor has less than the guest was given: choose one of the same model, or a newer one."
        : null;
    } catch (error) {
      if (LibvirtError.isCode(error, "NO_SUPPORT", "CONFIG_UNSUPPORTED")) return null;
      if (error instanceof LibvirtError) return `The processors cannot be compared: ${error.message}`;
      throw error;
    }
  }

  async #networksVerdict({ networks }: GuestDescription, signal: AbortSignal): Promise<void> {
    for (const networkId of new Set(networks)) await this.#options.networks.choose(NetworkSpec.fromPartial({ networkId }), signal);
  }

  async #imagesVerdict({ kernel, initrd }: GuestDescription, signal: AbortSignal): Promise<Verdict> {
    for (const file of [kernel, initrd]) {
      if (file === null || (await this.bootFile(file, signal)) !== null) continue;
      return `This host has no ${basename(file.path)} with the same content (SHA-256 ${file.sha256}), from which the guest boots: put it into its images.`;
    }
    return null;
  }

  /** By directory: types of disks may share one. */
  async #spaceVerdict({ spec }: GuestDescription, copied: readonly DescribedDisk[], signal: AbortSignal): Promise<Verdict> {
    const { storage } = this.#options;
    const { byType } = storage.places;
    const free = await storage.freeBytes(signal);
    const typeOf = ({ path }: DescribedDisk) => spec.disks.find(({ name }) => basename(path).endsWith(`.${name}.qcow2`))?.type ?? "";
    for (const type of TYPES) {
      const there = copied.filter((disk) => byType[asDiskType(typeOf(disk))] === byType[type]);
      const needed = bytesOf(there) + SPARE_BYTES;
      if (there.length > 0 && free[type] < needed) return `The disks need ${needed} bytes in ${byType[type]}, and ${free[type]} are free.`;
    }
    return null;
  }
}

/** The state of a guest is QEMU's: what it is run by must be the same, or newer where its machine has versions. */
function hypervisorVerdict(guest: GuestDescription, abilities: HostAbilities, qemuVersion: number): Verdict {
  const { arch, accelerator, type } = guest;
  if (abilities.emulator === "") return "This host runs no virtual machines.";
  if (arch !== abilities.arch) return `The guest is for ${arch}, this host for ${abilities.arch}.`;
  if (accelerator !== abilities.accelerator) return `The guest runs by ${accelerator}, this host by ${abilities.accelerator}.`;
  if (type === InstanceType.MICROVM && qemuVersion !== guest.qemuVersion)
    return "MicroVMs move between hosts with the same version of QEMU only.";
  if (Math.floor(qemuVersion / 1000) < Math.floor(guest.qemuVersion / 1000))
    return "QEMU on this host is older than the one that the guest runs by.";
  return null;
}

async function missingBases(disks: readonly DescribedDisk[]): Promise<string[]> {
  const missing: string[] = [];
  for (const { path } of disks.flatMap(({ backing }) => backing)) {
    const facts = await stat(path).catch(() => null);
    if (facts === null || !facts.isFile()) missing.push(path);
  }
  return [...new Set(missing)];
}

/** What a refusal says; anything but a refusal is thrown. */
async function asVerdict(work: Promise<unknown>): Promise<Verdict> {
  try {
    await work;
    return null;
  } catch (error) {
    if (error instanceof FleetError && (error.code === "FAILED_PRECONDITION" || error.code === "INVALID_ARGUMENT")) return error.message;
    throw error;
  }
}

function asDiskType(type: string): DiskType {
  return TYPES.find((one) => one === type) ?? "";
}

function bytesOf(disks: readonly DescribedDisk[]): number {
  return disks.reduce((sum, { copiedBytes }) => sum + copiedBytes, 0);
}

function pathsOf(disks: readonly DescribedDisk[]): string {
  return disks.map(({ path }) => path).join(", ");
}
