import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../platform/observability/log.ts";
import { InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { DeviceUsers } from "../../hardware/device-users.ts";
import type { LibvirtFacts } from "../../hardware/host-facts.ts";
import type { HostChannel } from "../../host/host-channel.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import type { ImageDriver } from "../image-driver.ts";
import type {
  DriverListener,
  InstanceDriver,
  InstanceMark,
  InstancePlan,
  InstanceSample,
  NativeInstance,
  Ref,
  TypeSupport,
} from "../instance-driver.ts";
import { precondition } from "../shared/refusals.ts";
import { supportOf, supportWithout, unreachable } from "./abilities.ts";
import type { ProbeCache } from "./boot-probe.ts";
import { LibvirtConsoles } from "./consoles/libvirt-consoles.ts";
import { readDeviceUsers } from "./device-users.ts";
import { LibvirtDevices } from "./devices/libvirt-devices.ts";
import { DomainControl, gone } from "./domain-control.ts";
import { DomainFollower } from "./domain-follower.ts";
import type { Domain, DomainIndex } from "./domain-index.ts";
import { attempt } from "./driver-errors.ts";
import { HostProbe } from "./host-probe.ts";
import { InstanceMaker } from "./instance-maker.ts";
import { readLibvirtFacts } from "./libvirt-facts.ts";
import { LibvirtMigrations } from "./migration/libvirt-migrations.ts";
import { Networks } from "./networks.ts";
import { readSamples } from "./samples.ts";
import type { SecurityGroupRules } from "./security-group-rules.ts";
import { SecurityGroups } from "./security-groups.ts";
import { DomainSnapshots } from "./snapshots/domain-snapshots.ts";
import type { InstanceStorage } from "./storage/instance-storage.ts";
import { LibvirtStorage } from "./volumes/libvirt-storage.ts";

export interface LibvirtDriverOptions {
  /** Stays the caller's, who closes it after the driver. */
  client: LibvirtClient;
  /** Stays the caller's. */
  storage: InstanceStorage;
  /** The libvirt network for public addresses; null where there is none. */
  publicNetwork: string | null;
  securityGroups: SecurityGroupRules;
  /** Folders of the host below which storage pools may be made. */
  poolRoots: readonly string[];
  /** Keeps the boot probe's answer beyond the agent's end; null: it is tried after each start. */
  probeCache: ProbeCache | null;
  /** Where notes of migrations are kept, which outlive the agent; null: guests cannot be moved. */
  migrationDirectory: string | null;
  /** Whether libvirt runs on this machine: only there can its files be looked at and guests be moved. */
  isLocal: boolean;
  /** The way to the host that libvirt runs on; null where there is none but libvirt: its devices stay with it. */
  host: HostChannel | null;
  /** Reads a text file of the host that libvirt runs on (its boot id, switches of its kernel); null where that cannot be done. */
  readHostFile: ((path: string) => Promise<string>) | null;
  log: Logger;
  /** Called when the driver has ended: for what was opened for it alone. */
  onClosed?: () => Promise<void>;
}

/** VMs and microVMs by libvirt and QEMU. */
export class LibvirtDriver implements InstanceDriver {
  readonly name = "libvirt";
  readonly types = [InstanceType.VM, InstanceType.MICROVM];
  readonly consoles: LibvirtConsoles;
  readonly images: ImageDriver;
  readonly storage: LibvirtStorage;
  readonly snapshots: DomainSnapshots;
  readonly migrations: LibvirtMigrations | null;
  readonly devices: LibvirtDevices;
  readonly #client: LibvirtClient;
  readonly #follower: DomainFollower;
  readonly #index: DomainIndex;
  readonly #control: DomainControl;
  readonly #maker: InstanceMaker;
  readonly #probe: HostProbe;
  readonly #onClosed: (() => Promise<void>) | undefined;

  constructor(options: LibvirtDriverOptions) {
    const { client, storage, publicNetwork, securityGroups, poolRoots, probeCache, readHostFile, migrationDirectory, log, onClosed } =
      options;
    this.#client = client;
    this.#onClosed = onClosed;
    this.images = storage.images;
    const networks = new Networks({ client, log, publicNetwork });
    const groups = new SecurityGroups({ client, groups: securityGroups, readHostFile });
    const warn = (message: string) => (error: unknown) => log.warn({ err: error }, message);
    this.#probe = new HostProbe({ client, log, storage, cache: probeCache, readHostFile });
    this.#control = new DomainControl({ client, networks, beforeBoot: (...which) => this.#beforeBoot(...which) });
    this.#follower = new DomainFollower({
      client,
      log,
      onConnection: () => this.#probe.forget(),
      prepare: async (signal) => {
        await this.#probe.abilities(signal).catch(warn("what the host can do is not known"));
        await groups.refresh(signal).catch(warn("security groups are not as configured"));
        await this.migrations?.recover().catch(warn("what migrations left is not all in order"));
        await this.snapshots.thawLeft(signal);
        await this.storage.refresh(signal).catch(warn("storage pools are not all as they should be"));
      },
    });
    this.#index = this.#follower.index;
    this.snapshots = new DomainSnapshots({ client, index: this.#index, log });
    this.consoles = new LibvirtConsoles(client, this.#index);
    const users = (signal: AbortSignal) => this.deviceUsers(signal);
    this.devices = new LibvirtDevices({ client, index: this.#index, host: options.host, users, log });
    const paths = { roots: poolRoots, isLocal: options.isLocal };
    this.storage = new LibvirtStorage({ client, log, paths, storage, index: this.#index, networks, securityGroups: groups });
    this.#maker = new InstanceMaker({
      client,
      log,
      index: this.#index,
      control: this.#control,
      storage,
      networks,
      securityGroups: groups,
      devices: this.storage,
      hostDevices: this.devices,
      abilities: (signal) => this.#probe.abilities(signal),
    });
    // The sockets of a migration are libvirt's host's.
    const canMove = migrationDirectory !== null && options.isLocal;
    this.migrations = !canMove
      ? null
      : new LibvirtMigrations({
          ...{ client, log, storage, networks, index: this.#index, control: this.#control, securityGroups: groups },
          abilities: (signal) => this.#probe.abilities(signal),
          directory: migrationDirectory,
          onChanged: (uuid) => this.#follower.noteChanged(uuid),
        });
  }

  get available(): boolean {
    return this.#follower.available;
  }

  async support(signal: AbortSignal): Promise<TypeSupport[]> {
    if (!this.#client.connected) return supportWithout(unreachable(this.#client.lastError));
    try {
      return supportOf(await this.#probe.abilities(signal));
    } catch (error) {
      return supportWithout(unreachable(error instanceof Error ? error : undefined));
    }
  }

  async list(signal: AbortSignal): Promise<NativeInstance[]> {
    this.#checkConnected();
    const domains = await attempt("list domains", () => this.#index.all(signal));
    return domains.filter(({ dom }) => !this.#isAwaited(dom.uuid)).map((domain) => this.#follower.native(domain));
  }

  async find(ref: Ref, signal: AbortSignal): Promise<NativeInstance | null> {
    this.#checkConnected();
    const domain = await this.#lookUp(ref, signal);
    return domain === null || this.#isAwaited(domain.dom.uuid) ? null : this.#follower.native(domain);
  }

  listen(listener: DriverListener): () => void {
    return this.#follower.listen({
      onAvailable: (available) => listener.onAvailable(available),
      onChanged: (uuid) => {
        if (!this.#isAwaited(uuid)) listener.onChanged(uuid);
      },
    });
  }

  async create(plan: InstancePlan, onActivity: (activity: string) => void, signal: AbortSignal): Promise<NativeInstance> {
    this.#checkConnected();
    this.migrations?.guard.checkNotAwaited(plan.instanceId);
    await attempt("make the instance", () => this.#maker.create(plan, onActivity, signal));
    return this.#follower.native(await this.#existing(plan, signal));
  }

  async start(ref: Ref, signal: AbortSignal): Promise<void> {
    const domain = await this.#existing(ref, signal);
    this.migrations?.guard.checkMayRun(domain.facts.mark);
    try {
      await attempt("start the guest", () => this.#control.start(domain, signal));
    } catch (error) {
      const { code, message } = FleetError.from(error);
      if (code === "FAILED_PRECONDITION") this.#follower.memory.onStartFailed(domain.dom.uuid, message);
      throw error;
    }
  }

  async requestStop(ref: Ref, signal: AbortSignal): Promise<void> {
    const domain = await this.#existing(ref, signal);
    this.migrations?.guard.checkMayRun(domain.facts.mark);
    this.#follower.memory.onStopRequested(domain.dom.uuid);
    await attempt("ask the guest to shut down", () => this.#control.requestStop(domain, signal));
  }

  async kill(ref: Ref, signal: AbortSignal): Promise<void> {
    const domain = await this.#existing(ref, signal);
    this.#follower.memory.onStopRequested(domain.dom.uuid);
    await attempt("power the guest off", () => this.#control.kill(domain, signal));
  }

  async suspend(ref: Ref, signal: AbortSignal, { toDisk } = { toDisk: false }): Promise<void> {
    const domain = await this.#existing(ref, signal);
    await attempt("suspend the guest", () => (toDisk ? this.#control.save(domain, signal) : this.#control.suspend(domain, signal)));
  }

  async resume(ref: Ref, signal: AbortSignal): Promise<void> {
    const domain = await this.#existing(ref, signal);
    this.migrations?.guard.checkMayRun(domain.facts.mark);
    await attempt("resume the guest", () => this.#control.resume(domain, signal));
  }

  async resize(plan: InstancePlan, signal: AbortSignal): Promise<void> {
    const domain = await this.#existing(plan, signal);
    await attempt("resize the instance", () => this.#maker.resize(plan, domain, signal));
  }

  async remove(ref: Ref, signal: AbortSignal, options?: { keepDisks: boolean }): Promise<void> {
    this.#checkConnected();
    const domain = await this.#lookUp(ref, signal);
    if (domain !== null && domain.facts.mark === null) {
      throw precondition("InstanceUnmanaged", "The agent does not remove what it did not make: adopt it first.");
    }
    const instanceId = "instanceId" in ref ? ref.instanceId : domain?.facts.mark?.instanceId;
    if (instanceId === undefined) return;
    this.migrations?.guard.checkNotAwaited(instanceId);
    await attempt("remove the instance", () => this.#maker.remove(instanceId, domain, signal, options));
  }

  async adopt(nativeId: string, mark: InstanceMark, signal: AbortSignal): Promise<void> {
    const domain = await this.#existing({ nativeId }, signal);
    await attempt("adopt the domain", () => this.#maker.adopt(domain, mark, signal));
  }

  async sample(nativeIds: readonly string[], signal: AbortSignal): Promise<InstanceSample[]> {
    this.#checkConnected();
    const doms = nativeIds.map((uuid) => ({ name: this.#index.known(uuid)?.name ?? "unknown", uuid, id: -1 }));
    return await readSamples(this.#client, doms, signal);
  }

  async deviceUsers(signal: AbortSignal): Promise<DeviceUsers> {
    this.#checkConnected();
    return await readDeviceUsers(this.#client, this.#index, signal);
  }

  async libvirtFacts(signal: AbortSignal): Promise<LibvirtFacts> {
    this.#checkConnected();
    return await readLibvirtFacts(this.#client, (each) => this.#probe.abilities(each), signal);
  }

  async close(): Promise<void> {
    this.consoles.close();
    await this.migrations?.close();
    await Promise.all([this.#follower.close(), this.#probe.close(), this.storage.close()]);
    await this.#onClosed?.();
  }

  async #beforeBoot(domain: Domain, signal: AbortSignal): Promise<void> {
    await this.storage.checkBeforeStart(domain, signal);
    await this.devices.prepareBoot(domain, signal);
  }

  async #existing(ref: Ref, signal: AbortSignal): Promise<Domain> {
    this.#checkConnected();
    const domain = await this.#lookUp(ref, signal);
    if (domain === null) throw gone();
    if (this.#isAwaited(domain.dom.uuid)) this.migrations?.guard.checkNotAwaited(domain.facts.mark?.instanceId ?? "");
    return domain;
  }

  /** A domain that waits for its guest from another host is nobody's yet. */
  #isAwaited(uuid: string): boolean {
    return this.migrations?.guard.hides(uuid) ?? false;
  }

  async #lookUp(ref: Ref, signal: AbortSignal): Promise<Domain | null> {
    return await attempt("look for the domain", () => this.#index.find(ref, signal));
  }

  #checkConnected(): void {
    if (this.#client.connected) return;
    const { reason, message } = unreachable(this.#client.lastError);
    throw new FleetError("UNAVAILABLE", message, { reason });
  }
}
