import type { LibvirtClient } from "../../libvirt/client.ts";
import { LibvirtError } from "../../libvirt/errors.ts";
import { precondition } from "../shared/refusals.ts";
import { attempt, driverError, orNull } from "./driver-errors.ts";
import { groupFilterXml, type InstanceFilter, instanceFilterXml, referencesOf } from "./nwfilter-xml.ts";
import type { SecurityGroupRules } from "./security-group-rules.ts";

export interface SecurityGroupsOptions {
  client: LibvirtClient;
  /** Those of the host's configuration. */
  groups: SecurityGroupRules;
  /** Reads a file of the host that libvirt runs on; null where that cannot be done. */
  readHostFile: ((path: string) => Promise<string>) | null;
}

/** An instance's groups, found and checked. */
export interface ChosenGroups {
  configured: readonly string[];
  /** Filters that the host has by itself. */
  host: readonly string[];
}

const OWN = "fleetgraph-";
const GROUP = `${OWN}sg-`;
/** Where an instance's specification says them. */
const PLACE = "spec.network";
const FIELD = `${PLACE}.securityGroups`;
/** Without these, bridged packets do not see the rules. */
const BRIDGE_SWITCHES = ["iptables", "ip6tables"].map((name) => `/proc/sys/net/bridge/bridge-nf-call-${name}`);

/** Security groups as libvirt's nwfilters: one for each configured group, one for each instance that refers to them. */
export class SecurityGroups {
  readonly #options: SecurityGroupsOptions;
  readonly #client: LibvirtClient;
  /** Filters of groups are shared: one change at a time. */
  #work: Promise<unknown> = Promise.resolve();

  constructor(options: SecurityGroupsOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /** Null: none are asked for. FAILED_PRECONDITION SecurityGroupNotFound or SecurityGroupsUnsupported. Makes nothing. `place`: what errors name. */
  async choose(names: readonly string[], signal: AbortSignal, place = PLACE): Promise<ChosenGroups | null> {
    if (names.length === 0) return null;
    const filters = await this.#filters(signal);
    const configured = names.filter((name) => this.#options.groups.has(name));
    const host = names.filter((name) => !this.#options.groups.has(name));
    const known = new Set([...filters.keys()].filter((name) => !name.startsWith(OWN)));
    for (const name of host) {
      if (known.has(name)) continue;
      const groups = [...this.#options.groups.keys(), ...known].sort();
      const there = groups.length === 0 ? "it has none" : `it has ${groups.join(", ")}`;
      throw precondition("SecurityGroupNotFound", `This host has no security group ${JSON.stringify(name)}; ${there}.`, {
        field: `${place}.securityGroups`,
        groups,
      });
    }
    if (configured.length > 0) await this.#checkBridge();
    return { configured: [...new Set(configured)], host: [...new Set(host)] };
  }

  /** Makes the filter and those that it refers to; gives its name. `owner`: the instance's id, or that, a dot and the name of one more interface. */
  async make(owner: string, chosen: ChosenGroups, signal: AbortSignal): Promise<string> {
    return await this.#alone(async () => {
      const filters = await this.#filters(signal);
      for (const group of chosen.configured) await this.#defineGroup(group, filters, signal);
      const rules = chosen.configured.flatMap((group) => this.#options.groups.get(group) ?? []);
      const filter: InstanceFilter = {
        references: [...chosen.configured.map((group) => GROUP + group), ...chosen.host],
        dropsTheRest: chosen.configured.length > 0,
        allowsOut: !rules.some(({ direction }) => direction === "out"),
      };
      const name = filterName(owner);
      await this.#define(name, instanceFilterXml(name, filters.get(name) ?? null, filter), signal);
      return name;
    });
  }

  /** Removes all filters of the instance, and those of groups that no other instance has. The domain must be gone. */
  async remove(instanceId: string, signal: AbortSignal): Promise<void> {
    const listed = await orNull(this.#client.call("connectListAllNwfilters", {}, { signal }), "NO_SUPPORT");
    const own = listed?.filters.filter(({ name }) => name === filterName(instanceId) || name.startsWith(`${filterName(instanceId)}.`));
    for (const { name } of own ?? []) await this.removeOne(name.slice(OWN.length), signal);
  }

  /** Removes one filter, as `make` made it. No interface may refer to it any more. */
  async removeOne(owner: string, signal: AbortSignal): Promise<void> {
    const name = filterName(owner);
    const lookUp = () => this.#client.call("nwfilterLookupByName", { name }, { signal });
    const found = await orNull(lookUp(), "NO_NWFILTER", "NO_SUPPORT");
    if (found === null) return;
    await this.#alone(async () => {
      const groups = (await this.#references(name, signal)).filter((reference) => reference.startsWith(GROUP));
      await this.#undefine(name, signal);
      if (groups.length === 0) return;
      const others = [...(await this.#filters(signal)).keys()].filter((other) => other.startsWith(OWN) && !other.startsWith(GROUP));
      const used = new Set<string>();
      for (const other of others) for (const reference of await this.#references(other, signal)) used.add(reference);
      for (const group of groups) if (!used.has(group)) await this.#undefine(group, signal);
    });
  }

  /** Brings the filters of configured groups that are there to what the configuration says now. */
  async refresh(signal: AbortSignal): Promise<void> {
    if (this.#options.groups.size === 0) return;
    await this.#alone(async () => {
      const filters = await this.#filters(signal);
      for (const group of this.#options.groups.keys()) if (filters.has(GROUP + group)) await this.#defineGroup(group, filters, signal);
    });
  }

  async #defineGroup(group: string, filters: ReadonlyMap<string, string>, signal: AbortSignal): Promise<void> {
    const name = GROUP + group;
    await this.#define(name, groupFilterXml(name, filters.get(name) ?? null, this.#options.groups.get(group) ?? []), signal);
  }

  async #define(name: string, xml: string, signal: AbortSignal): Promise<void> {
    await attempt(`define the network filter ${name}`, () => this.#client.call("nwfilterDefineXml", { xml }, { signal }));
  }

  async #undefine(name: string, signal: AbortSignal): Promise<void> {
    try {
      const { nwfilter } = await this.#client.call("nwfilterLookupByName", { name }, { signal });
      await this.#client.call("nwfilterUndefine", { nwfilter }, { signal });
    } catch (error) {
      if (LibvirtError.isCode(error, "NO_NWFILTER")) return;
      // Somebody's domain refers to it.
      if (name.startsWith(GROUP) && LibvirtError.isCode(error, "OPERATION_INVALID")) return;
      throw driverError(error, `remove the network filter ${name}`);
    }
  }

  async #references(name: string, signal: AbortSignal): Promise<string[]> {
    const found = await orNull(this.#client.call("nwfilterLookupByName", { name }, { signal }), "NO_NWFILTER");
    if (found === null) return [];
    const answer = await orNull(this.#client.call("nwfilterGetXmlDesc", { nwfilter: found.nwfilter }, { signal }), "NO_NWFILTER");
    return answer === null ? [] : referencesOf(answer.xml);
  }

  /** UUIDs by name. */
  async #filters(signal: AbortSignal): Promise<Map<string, string>> {
    try {
      const { filters } = await this.#client.call("connectListAllNwfilters", {}, { signal });
      return new Map(filters.map(({ name, uuid }) => [name, uuid]));
    } catch (error) {
      if (!LibvirtError.isCode(error, "NO_SUPPORT")) throw driverError(error, "list network filters");
      throw groupsUnsupported(
        "libvirt on this host has no network filters: install its driver for them (Debian: libvirt-daemon, ebtables; Fedora: libvirt-daemon-driver-nwfilter).",
      );
    }
  }

  async #checkBridge(): Promise<void> {
    const { readHostFile } = this.#options;
    if (readHostFile === null) return;
    for (const path of BRIDGE_SWITCHES) {
      const value = await readHostFile(path).catch(() => "");
      if (value.trim() === "1") continue;
      throw groupsUnsupported(
        `This host does not filter what its bridges carry: run "modprobe br_netfilter" and set ${path.slice("/proc/sys/".length).replaceAll("/", ".")} to 1.`,
      );
    }
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#work.then(work);
    this.#work = mine.catch(() => undefined);
    return await mine;
  }
}

/** "fleetgraph-inst-…" */
export function filterName(owner: string): string {
  return OWN + owner;
}

function groupsUnsupported(message: string) {
  return precondition("SecurityGroupsUnsupported", message, { field: FIELD });
}
