import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import { AFFECT, MAXIMUM, METADATA } from "../../libvirt/values.ts";
import type { InstanceMark, InstancePlan } from "../instance-driver.ts";
import { precondition } from "../shared/refusals.ts";
import type { HostAbilities } from "./abilities.ts";
import { checkAbilities, checkPlan } from "./check-plan.ts";
import type { LibvirtDevices } from "./devices/libvirt-devices.ts";
import type { DomainControl } from "./domain-control.ts";
import type { Domain, DomainIndex } from "./domain-index.ts";
import { MARK_NAMESPACE, MARK_PREFIX, markXml } from "./domain-mark.ts";
import { isActive } from "./domain-state.ts";
import { domainXml } from "./domain-xml.ts";
import { attempt } from "./driver-errors.ts";
import type { Networks } from "./networks.ts";
import type { SecurityGroups } from "./security-groups.ts";
import type { InstanceStorage } from "./storage/instance-storage.ts";
import type { ExtraDevices } from "./volumes/devices.ts";
import type { LibvirtStorage } from "./volumes/libvirt-storage.ts";

export interface InstanceMakerOptions {
  client: LibvirtClient;
  log: Logger;
  index: DomainIndex;
  control: DomainControl;
  storage: Pick<InstanceStorage, "prepare" | "remove" | "resize">;
  networks: Networks;
  securityGroups: SecurityGroups;
  devices: Pick<LibvirtStorage, "check" | "withExtras" | "plugAsPlanned">;
  hostDevices: Pick<LibvirtDevices, "giveBackAll">;
  abilities(signal: AbortSignal): Promise<HostAbilities>;
}

const UNDO_MS = 60_000;

/** What is made for an instance on the host, and removed with it: volumes, network filter, domain, in this order. */
export class InstanceMaker {
  readonly #options: InstanceMakerOptions;
  readonly #client: LibvirtClient;

  constructor(options: InstanceMakerOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /** A domain is defined last: where it is, everything is. */
  async create(plan: InstancePlan, onActivity: (activity: string) => void, signal: AbortSignal): Promise<void> {
    const { index, networks, securityGroups, storage, devices } = this.#options;
    const { instanceId, spec } = plan;
    checkPlan(plan);
    const existing = await index.find({ instanceId }, signal);
    if (existing !== null) {
      await this.#mark(existing, plan, signal);
      return;
    }
    if ((await index.byName(instanceId, signal)) !== null) {
      throw new FleetError("ALREADY_EXISTS", `There is a domain ${instanceId} on the host that the agent did not make.`, {
        reason: "NameTaken",
      });
    }
    const abilities = await this.#options.abilities(signal);
    checkAbilities(plan, abilities);
    const networkNames = await networks.choose(spec.network, signal);
    const groups = await securityGroups.choose(spec.network?.securityGroups ?? [], signal);
    if (groups !== null && networkNames.length === 0) {
      const message = "Security groups stand before a network interface, and this instance has none.";
      throw precondition("SecurityGroupsUnsupported", message, { field: "spec.network.securityGroups" });
    }
    await devices.check(plan, signal);
    try {
      const prepared = await storage.prepare(plan, onActivity, signal);
      const filter = groups === null ? null : await securityGroups.make(instanceId, groups, signal);
      const interfaces = networkNames.map((network) => ({ network, filter }));
      const define = async (extras: ExtraDevices) => {
        const xml = domainXml({ plan, storage: prepared, abilities, interfaces, extras });
        await attempt("define the domain", () => this.#client.call("domainDefineXmlFlags", { xml }, { signal }));
      };
      await devices.withExtras(plan, define, signal);
    } catch (error) {
      // Where libvirt is away nothing can be undone; the call is repeated, or followed by `remove`.
      if (!(error instanceof FleetError && error.code === "UNAVAILABLE")) await this.#undo(instanceId);
      throw error;
    }
  }

  /** FAILED_PRECONDITION InstanceRunning while it runs. */
  async resize(plan: InstancePlan, domain: Domain, signal: AbortSignal): Promise<void> {
    checkPlan(plan);
    checkAbilities(plan, await this.#options.abilities(signal));
    const { dom, facts, state } = domain;
    if (isActive(state)) throw precondition("InstanceRunning", "A VM is resized while it is stopped: stop it first.");
    const isAdopted = facts.name !== plan.instanceId;
    if (isAdopted && plan.spec.disks.length > 0) {
      throw precondition("DisksNotOwned", "The disks of an adopted VM are not the agent's: resize them on the host.", {
        field: "spec.disks",
      });
    }
    if (!isAdopted) await this.#options.storage.resize(plan, signal);
    const { cpuCores, memoryBytes } = plan.spec;
    const memory = Math.ceil(memoryBytes / 1024);
    await attempt("resize the domain", async () => {
      // The most first: what it has may not be above it.
      for (const flags of [MAXIMUM | AFFECT.CONFIG, AFFECT.CONFIG]) {
        await this.#client.call("domainSetVcpusFlags", { dom, nvcpus: cpuCores, flags }, { signal });
        await this.#client.call("domainSetMemoryFlags", { dom, memory, flags }, { signal });
      }
    });
    await this.#options.devices.plugAsPlanned(domain, plan, signal);
    // There is no event for it.
    this.#options.index.drop(dom.uuid);
  }

  /** Volumes of pools stay. Also what is half made: `domain` is null where it was not defined yet, or is gone already. */
  async remove(instanceId: string, domain: Domain | null, signal: AbortSignal, { keepDisks } = { keepDisks: false }): Promise<void> {
    const { control, hostDevices, securityGroups, storage } = this.#options;
    if (domain !== null && domain.facts.deviceNotes.length > 0) {
      await control.kill(domain, signal);
      await hostDevices.giveBackAll(domain, signal);
    }
    if (domain !== null) await control.remove(domain, signal);
    await securityGroups.remove(instanceId, signal);
    if (!keepDisks) await storage.remove(instanceId, signal);
  }

  /** FAILED_PRECONDITION TransientDomain; CONFLICT AlreadyManaged where another instance's mark is on it. */
  async adopt(domain: Domain, mark: InstanceMark, signal: AbortSignal): Promise<void> {
    const { dom, facts } = domain;
    if (facts.mark !== null && facts.mark.instanceId !== mark.instanceId) {
      throw new FleetError("CONFLICT", `This domain is the instance ${facts.mark.instanceId} already.`, { reason: "AlreadyManaged" });
    }
    const { persistent } = await attempt("look at the domain", () => this.#client.call("domainIsPersistent", { dom }, { signal }));
    if (!persistent) {
      throw precondition("TransientDomain", "This domain is gone once it stops: define it first (virsh dumpxml, virsh define).");
    }
    await this.#mark(domain, mark, signal);
    await attempt("take the domain out of autostart", () => this.#client.call("domainSetAutostart", { dom, autostart: false }, { signal }));
  }

  /** Does nothing where it bears it already. A newer generation keeps nothing of what stood beside the old mark. */
  async #mark({ dom, facts, state }: Domain, mark: InstanceMark | InstancePlan, signal: AbortSignal): Promise<void> {
    const { instanceId, nodeId, generation } = mark;
    const now = facts.mark;
    if (now?.instanceId === instanceId && now.nodeId === nodeId && now.generation === generation) return;
    const notes = "spec" in mark ? { name: mark.name, labels: mark.labels, annotations: mark.annotations, env: mark.spec.env } : {};
    const args = {
      dom,
      type: METADATA.ELEMENT,
      metadata: markXml({ instanceId, nodeId, generation }, notes),
      key: MARK_PREFIX,
      uri: MARK_NAMESPACE,
      flags: isActive(state) ? AFFECT.LIVE | AFFECT.CONFIG : AFFECT.CONFIG,
    };
    await attempt("mark the domain", () => this.#client.call("domainSetMetadata", args, { signal }));
    this.#options.index.drop(dom.uuid);
  }

  async #undo(instanceId: string): Promise<void> {
    const signal = AbortSignal.timeout(UNDO_MS);
    try {
      // A definition that was given up may have taken effect.
      await this.remove(instanceId, await this.#options.index.find({ instanceId }, signal), signal);
    } catch (error) {
      this.#options.log.warn(
        { err: error, instanceId },
        "what was made of the instance could not be removed; it is removed with the instance",
      );
    }
  }
}
