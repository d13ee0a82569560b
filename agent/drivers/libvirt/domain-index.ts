import type { Logger } from "../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import { LibvirtError } from "../../libvirt/errors.ts";
import type { DomainReference, DomainStats } from "../../libvirt/protocol/structures.ts";
import { DOMAIN_STATS, LIST_DOMAINS } from "../../libvirt/values.ts";
import type { Ref } from "../instance-driver.ts";
import { type DomainFacts, readDomainXml } from "./domain-facts.ts";
import { isActive } from "./domain-state.ts";
import { driverError, orNull } from "./driver-errors.ts";

/** A domain as it is now. */
export interface Domain {
  dom: DomainReference;
  facts: DomainFacts;
  /** Numbers of `domainGetState`. */
  state: number;
  reason: number;
  /** Off, with its memory on the host's disk. */
  saved: boolean;
}

/** Guests that the agent runs for itself: they are nobody's instances. */
const OWN_GUESTS = /^fleetgraph-probe-/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export function isOwnGuest({ name }: DomainReference): boolean {
  return OWN_GUESTS.test(name);
}

/**
 * The domains of the host. Their states are asked for in one call; what their XML says is kept until an event tells that it changed, so that a
 * list costs a single call.
 */
export class DomainIndex {
  readonly #client: LibvirtClient;
  readonly #log: Logger;
  readonly #facts = new Map<string, DomainFacts>();
  /** The latest reading of each that is under way; one that was dropped meanwhile is not kept. */
  readonly #readings = new Map<string, symbol>();

  constructor(client: LibvirtClient, log: Logger) {
    this.#client = client;
    this.#log = log;
  }

  async all(signal: AbortSignal): Promise<Domain[]> {
    const records = await this.#states([], signal);
    const present = new Set(records.map(({ dom }) => dom.uuid));
    for (const uuid of this.#facts.keys()) if (!present.has(uuid)) this.#facts.delete(uuid);
    const saved = await this.#saved(records, signal);
    const domains = await Promise.all(records.map((record) => this.#domain(record, saved, signal)));
    return domains.filter((domain) => domain !== null);
  }

  /** Null: there is none. */
  async find(ref: Ref, signal: AbortSignal): Promise<Domain | null> {
    if ("nativeId" in ref) return await this.#byUuid(ref.nativeId, signal);
    const known = this.#marked(ref.instanceId);
    if (known !== null) {
      const domain = await this.#byUuid(known.uuid, signal);
      if (domain?.facts.mark?.instanceId === ref.instanceId) return domain;
    }
    const byName = await this.byName(ref.instanceId, signal);
    if (byName?.facts.mark?.instanceId === ref.instanceId) return byName;
    // One that was adopted has a name of its own.
    return (await this.all(signal)).find(({ facts }) => facts.mark?.instanceId === ref.instanceId) ?? null;
  }

  /** Whoever made it. */
  async byName(name: string, signal: AbortSignal): Promise<Domain | null> {
    const found = await this.#orNull("look for a domain", this.#client.call("domainLookupByName", { name }, { signal }));
    return found === null ? null : await this.#byUuid(found.dom.uuid, signal);
  }

  /** Null: it is not known now, and nothing is asked. */
  known(uuid: string): DomainFacts | null {
    return this.#facts.get(uuid) ?? null;
  }

  /** What is known of a domain is read again when it is asked for. */
  drop(uuid: string): void {
    this.#facts.delete(uuid);
    this.#readings.delete(uuid);
  }

  clear(): void {
    this.#facts.clear();
    this.#readings.clear();
  }

  async #byUuid(uuid: string, signal: AbortSignal): Promise<Domain | null> {
    const dom = await this.#reference(uuid, signal);
    if (dom === null || isOwnGuest(dom)) return null;
    const state = await this.#orNull("read a domain's state", this.#client.call("domainGetState", { dom }, { signal }));
    if (state === null) return null;
    const facts = await this.#read(dom, signal);
    return facts === null ? null : { dom, facts, ...state, saved: !isActive(state.state) && (await this.#isSaved(dom, signal)) };
  }

  async #reference(uuid: string, signal: AbortSignal): Promise<DomainReference | null> {
    const known = this.#facts.get(uuid);
    if (known !== undefined) return { name: known.name, uuid, id: -1 };
    if (!UUID.test(uuid)) return null;
    const found = await this.#orNull("look for a domain", this.#client.call("domainLookupByUuid", { uuid }, { signal }));
    return found?.dom ?? null;
  }

  async #states(doms: DomainReference[], signal: AbortSignal): Promise<DomainStats[]> {
    try {
      const { retStats } = await this.#client.call("connectGetAllDomainStats", { doms, stats: DOMAIN_STATS.STATE }, { signal });
      return retStats.filter(({ dom }) => !isOwnGuest(dom));
    } catch (error) {
      throw driverError(error, "list domains");
    }
  }

  async #domain({ dom, params }: DomainStats, saved: ReadonlySet<string>, signal: AbortSignal): Promise<Domain | null> {
    const facts = this.#facts.get(dom.uuid) ?? (await this.#read(dom, signal));
    const [state, reason] = [Number(params["state.state"]), Number(params["state.reason"])];
    return facts === null ? null : { dom, facts, state, reason, saved: !isActive(state) && saved.has(dom.uuid) };
  }

  /** Not asked where all run. */
  async #saved(records: readonly DomainStats[], signal: AbortSignal): Promise<ReadonlySet<string>> {
    if (records.every(({ params }) => isActive(Number(params["state.state"])))) return new Set();
    try {
      const { domains } = await this.#client.call("connectListAllDomains", { flags: LIST_DOMAINS.MANAGED_SAVE }, { signal });
      return new Set(domains.map(({ uuid }) => uuid));
    } catch (error) {
      throw driverError(error, "list domains that were saved");
    }
  }

  async #isSaved(dom: DomainReference, signal: AbortSignal): Promise<boolean> {
    try {
      const answer = await this.#orNull("look for its saved memory", this.#client.call("domainHasManagedSaveImage", { dom }, { signal }));
      return answer?.result ?? false;
    } catch (error) {
      // libvirt's own test driver has none.
      if (LibvirtError.isCode((error as Error).cause, "NO_SUPPORT")) return false;
      throw error;
    }
  }

  async #read(dom: DomainReference, signal: AbortSignal): Promise<DomainFacts | null> {
    const cached = this.#facts.get(dom.uuid);
    if (cached !== undefined) return cached;
    const reading = Symbol(dom.uuid);
    this.#readings.set(dom.uuid, reading);
    const answer = await this.#orNull("read a domain", this.#client.call("domainGetXmlDesc", { dom }, { signal }));
    const isCurrent = this.#readings.get(dom.uuid) === reading;
    if (isCurrent) this.#readings.delete(dom.uuid);
    if (answer === null) return null;
    try {
      const facts = readDomainXml(answer.xml);
      if (isCurrent) this.#facts.set(dom.uuid, facts);
      return facts;
    } catch (error) {
      this.#log.warn({ err: error, domain: dom.name }, "the domain's XML was not understood; it is left out");
      return null;
    }
  }

  #marked(instanceId: string): DomainFacts | null {
    for (const facts of this.#facts.values()) if (facts.mark?.instanceId === instanceId) return facts;
    return null;
  }

  async #orNull<T>(task: string, answer: Promise<T>): Promise<T | null> {
    try {
      return await orNull(answer, "NO_DOMAIN");
    } catch (error) {
      throw error instanceof LibvirtError ? driverError(error, task) : error;
    }
  }
}
