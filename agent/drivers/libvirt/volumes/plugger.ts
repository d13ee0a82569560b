import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { PluggedDevice } from "../../../../schema/generated/proto/hypervisor/v1/storage.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import { AFFECT, DOMAIN_XML } from "../../../libvirt/values.ts";
import { precondition } from "../../shared/refusals.ts";
import type { Domain } from "../domain-index.ts";
import { isActive } from "../domain-state.ts";
import { attempt, driverError } from "../driver-errors.ts";
import type { Networks } from "../networks.ts";
import { buildXml, type XmlTree } from "../xml.ts";
import { detachLive } from "./detach-live.ts";
import {
  diskAlias,
  diskElement,
  type ExtraDevices,
  freeTarget,
  interfaceAlias,
  interfaceElement,
  MMIO_ADDRESS,
  type PresentDevices,
  readDevices,
} from "./devices.ts";
import type { Extras } from "./extras.ts";
import { checkSerials, type WantedExtras } from "./extras-check.ts";
import { isLost, type LostDevice, removeLost } from "./lost-devices.ts";
import { type DeviceKind, nextPlace } from "./pci-places.ts";
import { isNothing, type PlugPlan, planPlug } from "./plug-plan.ts";

export interface PluggerOptions {
  client: LibvirtClient;
  extras: Extras;
  networks: Networks;
  /** For a running guest to let go of a device; 30 s by default. */
  removalMs?: number;
}

/** What a domain has and is to have, in its definition and, while it runs, now. */
interface Views {
  config: PresentDevices;
  live: PresentDevices | null;
}

/** Makes the extra devices of a domain what they are to be. Each step may be repeated after a crash. */
export class Plugger {
  readonly #options: PluggerOptions;
  readonly #client: LibvirtClient;

  constructor(options: PluggerOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /** `instanceId`: whose they are. */
  async plug(domain: Domain, instanceId: string, wanted: WantedExtras, signal: AbortSignal): Promise<PluggedDevice[]> {
    const { extras } = this.#options;
    const views = await this.#views(domain, signal);
    checkSerials(views.config.serials, wanted);
    const present = views.live === null ? [views.config] : [views.config, views.live];
    const owner = { instanceId, domainUuid: domain.dom.uuid, present };
    const work = (devices: ExtraDevices) => this.#apply(domain, instanceId, views, wanted, devices, signal);
    await extras.use(wanted, owner, work, signal);
    return await this.#told(domain, wanted, signal);
  }

  /** What a stopped domain has of them. */
  async defined({ dom }: Domain, signal: AbortSignal): Promise<PresentDevices> {
    return await this.#read(dom, DOMAIN_XML.INACTIVE, signal);
  }

  async #apply(
    domain: Domain,
    instanceId: string,
    { config, live }: Views,
    wanted: WantedExtras,
    devices: ExtraDevices,
    signal: AbortSignal,
  ): Promise<void> {
    const { extras, networks } = this.#options;
    const plans = { config: planPlug(config, devices), live: live === null ? null : planPlug(live, devices) };
    this.#checkPossible(domain, plans.config, plans.live);
    await extras.makeFilters(wanted, instanceId, signal);
    if (live !== null)
      await networks.start(
        devices.interfaces.map(({ network }) => network),
        signal,
      );
    // The guest first: what it does not let go of stays in the definition, too.
    for (const alias of plans.live?.detach ?? []) await detachLive(this.#client, domain.dom, alias, signal, this.#options.removalMs);
    for (const alias of plans.config.detach) await this.#detach(domain, alias, AFFECT.CONFIG, signal);
    await this.#attachAll(domain, plans.config, plans.live, signal);
    const kept = new Set(wanted.interfaces.filter(({ network }) => (network?.securityGroups.length ?? 0) > 0).map(({ name }) => name));
    const before = [config, ...(live === null ? [] : [live])].flatMap(({ interfaces }) => interfaces);
    const gone = new Set(before.filter(({ name, filter }) => filter !== null && !kept.has(name)).map(({ name }) => name));
    await extras.removeFilters([...gone], instanceId, signal);
  }

  /** Before anything is changed. */
  #checkPossible({ facts, saved }: Domain, config: PlugPlan, live: PlugPlan | null): void {
    if (live !== null && !isNothing(live) && facts.type === InstanceType.MICROVM) {
      throw precondition("HotPlugUnsupported", "A microVM takes and gives no devices while it runs: stop it first.");
    }
    if (saved && !isNothing(config)) {
      throw precondition(
        "InstanceSaved",
        "The instance is saved to disk with the devices that it had: resume it, or start it anew, first.",
      );
    }
  }

  async #attachAll(domain: Domain, config: PlugPlan, live: PlugPlan | null, signal: AbortSignal): Promise<void> {
    const { dom, facts } = domain;
    const flagsOf = (name: string, inConfig: readonly Named[], inLive: readonly Named[] = []) =>
      (has(inConfig, name) ? AFFECT.CONFIG : 0) | (has(inLive, name) ? AFFECT.LIVE : 0);
    // Seen anew for each device: the one before has taken a place.
    const look = async (kind: DeviceKind) => {
      const { config: inConfig, live: inLive } = await this.#views(domain, signal);
      const views = inLive === null ? [inConfig] : [inConfig, inLive];
      const isMicroVm = facts.type === InstanceType.MICROVM;
      const pci = views.map((view) => view.pci);
      return { views, address: isMicroVm ? MMIO_ADDRESS : nextPlace(kind, pci) };
    };
    for (const disk of together(config.disks, live?.disks ?? [])) {
      const { views, address } = await look("disk");
      const there = views.flatMap(({ disks }) => disks).find(({ name }) => name === disk.name)?.target;
      const target = there ?? freeTarget(new Set(views.flatMap(({ targets }) => targets)));
      const xml = { disk: diskElement(disk, { target, address, ioTune: views[0]?.ioTune ?? null }) };
      const device = { alias: diskAlias(disk.name), path: disk.path };
      await this.#attach(dom, device, xml, flagsOf(disk.name, config.disks, live?.disks), signal);
    }
    for (const nic of together(config.interfaces, live?.interfaces ?? [])) {
      const { address } = await look("interface");
      const flags = flagsOf(nic.name, config.interfaces, live?.interfaces);
      const device = { alias: interfaceAlias(nic.name), path: null };
      await this.#attach(dom, device, { interface: interfaceElement(nic, address) }, flags, signal);
    }
  }

  async #attach(dom: Domain["dom"], device: LostDevice, tree: XmlTree, flags: number, signal: AbortSignal): Promise<void> {
    const task = `attach ${device.alias}`;
    const attach = () => this.#client.call("domainAttachDeviceFlags", { dom, xml: buildXml(tree), flags }, { signal });
    try {
      await attach();
    } catch (error) {
      const mayBeLost = (flags & AFFECT.LIVE) !== 0 && isLost(error);
      if (!mayBeLost || !(await removeLost(this.#client, dom, device, signal))) throw attachError(error, task);
      await attempt(task, attach);
    }
  }

  async #detach({ dom }: Domain, alias: string, flags: number, signal: AbortSignal): Promise<void> {
    try {
      await this.#client.call("domainDetachDeviceAlias", { dom, alias, flags }, { signal });
    } catch (error) {
      if (!LibvirtError.isCode(error, "DEVICE_MISSING")) throw driverError(error, `detach ${alias}`);
    }
  }

  async #told(domain: Domain, { volumes, interfaces }: WantedExtras, signal: AbortSignal): Promise<PluggedDevice[]> {
    const views = await this.#views(domain, signal);
    const now = views.live ?? views.config;
    return [
      ...volumes.map(({ name }) => ({ name, native: now.disks.find((disk) => disk.name === name)?.target ?? "" })),
      ...interfaces.map(({ name }) => ({ name, native: now.interfaces.find((nic) => nic.name === name)?.mac ?? "" })),
    ];
  }

  async #views({ dom, state }: Domain, signal: AbortSignal): Promise<Views> {
    const config = await this.#read(dom, DOMAIN_XML.INACTIVE, signal);
    return { config, live: isActive(state) ? await this.#read(dom, 0, signal) : null };
  }

  async #read(dom: Domain["dom"], flags: number, signal: AbortSignal): Promise<PresentDevices> {
    return readDevices((await attempt("read the domain", () => this.#client.call("domainGetXmlDesc", { dom, flags }, { signal }))).xml);
  }
}

interface Named {
  name: string;
}

function has(list: readonly Named[], name: string): boolean {
  return list.some((one) => one.name === name);
}

/** Each once. */
function together<T extends Named>(config: readonly T[], live: readonly T[]): T[] {
  return [...config, ...live.filter(({ name }) => !has(config, name))];
}

function attachError(error: unknown, task: string): FleetError {
  const refused = driverError(error, task);
  if (/no more available pci slots|no free (pci )?(slot|address)|no available.*(pci|slot)/i.test(refused.message)) {
    const message = "The machine of this guest has no free slot left for a device while it runs: stop it, and attach it then.";
    return precondition("NoFreeSlot", message);
  }
  return refused;
}
