import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { AttachedVolume, NetworkInterfaceSpec } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { precondition } from "../../shared/refusals.ts";
import { macAddress } from "../domain-xml.ts";
import type { Networks } from "../networks.ts";
import { filterName, type SecurityGroups } from "../security-groups.ts";
import type { ExtraDevices, ExtraDisk, ExtraInterface, PresentDevices, PresentDisk } from "./devices.ts";
import { readDiskUses } from "./disk-users.ts";
import type { WantedExtras } from "./extras-check.ts";
import { readVolumeFile, shown, volumeFile } from "./names.ts";
import type { OpenPool } from "./open-pool.ts";
import type { Pools } from "./pools.ts";
import { checkContent } from "./volume-content.ts";
import type { Volumes } from "./volumes.ts";

export interface ExtrasOptions {
  client: LibvirtClient;
  pools: Pools;
  volumes: Volumes;
  networks: Networks;
  securityGroups: SecurityGroups;
}

/** The instance that is to have them. */
export interface ExtrasOwner {
  instanceId: string;
  /** Null before it is made. */
  domainUuid: string | null;
  /** What it has already; that is not looked at again. */
  present: readonly PresentDevices[];
}

/** Finds and checks what an instance is to have beside its own disks and its first interface. */
export class Extras {
  readonly #options: ExtrasOptions;

  constructor(options: ExtrasOptions) {
    this.#options = options;
  }

  /**
   * Calls `work` with what was asked for, as devices. While it runs nobody else takes, grows or removes the volumes. FAILED_PRECONDITION with the
   * field and a reason: VolumeMissing, VolumeInUse, VolumeUnusable, PoolMissing, PoolInactive, PoolNotManaged, NetworkNotFound, …
   */
  async use<T>(wanted: WantedExtras, owner: ExtrasOwner, work: (devices: ExtraDevices) => Promise<T>, signal: AbortSignal): Promise<T> {
    const interfaces: ExtraInterface[] = [];
    for (const [index, nic] of wanted.interfaces.entries())
      interfaces.push(await this.#interface(nic, `spec.interfaces[${index}]`, owner, signal));
    // Always in the same order, so that two that want the same ones do not wait for each other.
    const byName = [...wanted.volumes.entries()].sort(([, a], [, b]) => (keyOf(a) < keyOf(b) ? -1 : 1));
    const disks = new Map<AttachedVolume, ExtraDisk>();
    const next = async (at: number): Promise<T> => {
      const [index, volume] = byName[at] ?? [];
      if (index === undefined || volume === undefined)
        return await work({ disks: wanted.volumes.flatMap((one) => disks.get(one) ?? []), interfaces });
      const known = await this.#known(volume, owner, signal);
      if (known !== null) {
        disks.set(volume, known);
        return await next(at + 1);
      }
      const field = `spec.volumes[${index}]`;
      const pool = await this.#pool(volume, field, signal);
      const take = async () => {
        disks.set(volume, await this.#disk(pool, volume, field, owner, signal));
        return await next(at + 1);
      };
      return await pool.withVolume(volume.volume, take, signal);
    };
    return await next(0);
  }

  /** Makes the filters in front of the interfaces. To be called before they are attached. */
  async makeFilters({ interfaces }: Pick<WantedExtras, "interfaces">, instanceId: string, signal: AbortSignal): Promise<void> {
    const { securityGroups } = this.#options;
    for (const [index, { name, network }] of interfaces.entries()) {
      const groups = await securityGroups.choose(network?.securityGroups ?? [], signal, `spec.interfaces[${index}].network`);
      if (groups !== null) await securityGroups.make(ownerOf(instanceId, name), groups, signal);
    }
  }

  /** Removes the filters of interfaces that are gone. */
  async removeFilters(names: readonly string[], instanceId: string, signal: AbortSignal): Promise<void> {
    for (const name of names) await this.#options.securityGroups.removeOne(ownerOf(instanceId, name), signal);
  }

  /** Whether volumes of a stopped domain are there: a start would fail less plainly. FAILED_PRECONDITION VolumeMissing, PoolInactive, VolumeUnusable. */
  async checkBeforeStart({ disks }: PresentDevices, signal: AbortSignal): Promise<void> {
    if (disks.length === 0) return;
    const pools = await this.#options.pools.all(signal);
    for (const disk of disks) {
      const path = disk.paths.at(-1) ?? "";
      const [directory, file] = [path.slice(0, path.lastIndexOf("/")), path.slice(path.lastIndexOf("/") + 1)];
      const host = pools.find((pool) => pool.managed && pool.path === directory);
      const volume = readVolumeFile(file);
      if (host === undefined || volume === null) {
        throw precondition(
          "PoolMissing",
          `The pool of the volume ${disk.name} (${path}) is not on this host any more: make it again, or detach the volume.`,
          {
            volume: disk.name,
          },
        );
      }
      const pool = await this.#options.pools.use(host.name, signal);
      const found = await this.#options.volumes.find(pool, volume.name, signal);
      if (found === null) throw missing(`The volume ${disk.name}`, host.name, volume.name);
      await checkContent(pool.store, found, volume, signal);
    }
  }

  /** One that it has already stays untouched, whatever became of its pool. */
  async #known({ name, pool, volume, readOnly }: AttachedVolume, { present }: ExtrasOwner, signal: AbortSignal): Promise<ExtraDisk | null> {
    const has = present.map(({ disks }) => disks.find((disk) => disk.name === name && disk.readOnly === readOnly));
    if (has.length === 0 || has.some((disk) => disk === undefined)) return null;
    const host = await this.#options.pools.find(pool, signal);
    if (host?.managed !== true) return null;
    for (const format of ["qcow2", "raw"] as const) {
      const path = `${host.path}/${volumeFile({ name: volume, format })}`;
      if (has.every((disk) => (disk as PresentDisk).paths.includes(path))) return { name, path, format, readOnly };
    }
    return null;
  }

  async #pool({ name, pool }: AttachedVolume, field: string, signal: AbortSignal): Promise<OpenPool> {
    try {
      return await this.#options.pools.use(pool, signal);
    } catch (thrown) {
      const error = FleetError.from(thrown);
      if (error.code === "NOT_FOUND") {
        throw precondition("PoolMissing", `This host has no pool ${shown(pool)} for the volume ${shown(name)}.`, {
          field: `${field}.pool`,
        });
      }
      if (error.code !== "FAILED_PRECONDITION") throw error;
      throw precondition(error.reason ?? "PoolInactive", error.message, { ...error.details, field: `${field}.pool` });
    }
  }

  async #disk(pool: OpenPool, wanted: AttachedVolume, field: string, owner: ExtrasOwner, signal: AbortSignal): Promise<ExtraDisk> {
    const { client, volumes } = this.#options;
    const { name, volume, readOnly } = wanted;
    const found = await volumes.find(pool, volume, signal);
    if (found === null) throw missing(`The volume ${shown(name)}`, pool.name, volume, `${field}.volume`);
    const file = { name: volume, format: found.declared };
    await checkContent(pool.store, found, file, signal);
    const uses = (await readDiskUses(client, signal)).filter(({ path }) => path === found.path);
    const other = uses.find((use) => use.domainUuid !== owner.domainUuid && !(readOnly && use.readOnly && use.isTop));
    if (other !== undefined) {
      const how = other.readOnly ? "reads it" : "writes to it";
      const message = `The volume ${shown(volume)} is attached to ${other.user}, which ${how}: detach it there, or attach it read-only at both.`;
      throw precondition("VolumeInUse", message, { field: `${field}.volume`, usedBy: [other.user] });
    }
    return { name, path: found.path, format: found.declared, readOnly };
  }

  async #interface(
    { name, network }: NetworkInterfaceSpec,
    field: string,
    { instanceId }: ExtrasOwner,
    signal: AbortSignal,
  ): Promise<ExtraInterface> {
    const { networks, securityGroups } = this.#options;
    const [chosen = ""] = await networks.choose(network, signal, `${field}.network`);
    const groups = await securityGroups.choose(network?.securityGroups ?? [], signal, `${field}.network`);
    return {
      name,
      mac: macAddress(instanceId, `nic/${name}`),
      network: chosen,
      filter: groups === null ? null : filterName(ownerOf(instanceId, name)),
    };
  }
}

/** Whose filter it is. */
function ownerOf(instanceId: string, nic: string): string {
  return `${instanceId}.${nic}`;
}

function keyOf({ pool, volume }: AttachedVolume): string {
  return `${pool}/${volume}`;
}

function missing(what: string, pool: string, volume: string, field?: string): FleetError {
  const message = `${what} is not there: the pool ${pool} has no whole volume ${shown(volume)}.`;
  return precondition("VolumeMissing", message, { pool, volume, ...(field === undefined ? {} : { field }) });
}
