import type { Logger } from "../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import { LibvirtError } from "../../libvirt/errors.ts";
import type { DomainReference } from "../../libvirt/protocol/structures.ts";
import { ADDRESS_SOURCE, LIST_NETWORKS } from "../../libvirt/values.ts";
import type { DomainInterfaceFacts } from "./domain-facts.ts";
import { orNull } from "./driver-errors.ts";

export interface AddressesOptions {
  client: LibvirtClient;
  log: Logger;
  /** The interfaces of a domain; empty where it is gone. */
  interfacesOf(uuid: string, signal: AbortSignal): Promise<readonly DomainInterfaceFacts[]>;
  onChanged(uuid: string): void;
}

interface Watched {
  dom: DomainReference;
  since: number;
  addresses: readonly string[];
  /** Those that the guest's agent or the ARP table said last. */
  told: readonly string[];
  /** Whether the guest's agent answers. */
  agent: boolean;
  /** Until then its addresses are looked for as if it had none: an interface came. */
  eagerUntil: number;
  /** When the guest itself, or the host's ARP table, is asked next. */
  askAt: number;
  asked: number;
}

/** How long until the next look at the leases: a fifth of the time that the latest guest without an address has been running, within these. */
const GAP_MS = { least: 500, most: 10_000 };
/** The first and the longest pause between questions to one guest. */
const ASK_MS = { first: 4000, longest: 60_000 };
const CALL_MS = 5000;
/** After an interface came. */
const EAGER_MS = 60_000;

/**
 * The addresses of running domains. One reading of each network's leases serves all domains; those that have none there are asked by their
 * agent or looked for in the host's ARP table, at growing intervals. There is no event for any of this.
 */
export class Addresses {
  readonly #options: AddressesOptions;
  readonly #watched = new Map<string, Watched>();
  readonly #closing = new AbortController();
  readonly #work: Promise<void>;
  #wake = Promise.withResolvers<void>();

  constructor(options: AddressesOptions) {
    this.#options = options;
    this.#work = this.#run(this.#closing.signal);
  }

  of(uuid: string): readonly string[] {
    return this.#watched.get(uuid)?.addresses ?? [];
  }

  /** From now on; `isNew` where it was started just now and nothing is known of it. */
  watch(dom: DomainReference, isNew: boolean): void {
    if (!isNew && this.#watched.has(dom.uuid)) return;
    const now = performance.now();
    this.#watched.set(dom.uuid, {
      dom,
      since: now,
      addresses: [],
      told: [],
      agent: false,
      eagerUntil: now,
      askAt: now + ASK_MS.first,
      asked: 0,
    });
    this.#poke();
  }

  /** It may soon have one more. */
  lookAgain(uuid: string): void {
    const watched = this.#watched.get(uuid);
    if (watched === undefined) return;
    watched.since = performance.now();
    watched.eagerUntil = watched.since + EAGER_MS;
    this.#poke();
  }

  forget(uuid: string): void {
    this.#watched.delete(uuid);
  }

  /** Forgets all but these. */
  keep(uuids: ReadonlySet<string>): void {
    for (const uuid of this.#watched.keys()) if (!uuids.has(uuid)) this.#watched.delete(uuid);
  }

  onAgent(uuid: string, connected: boolean): void {
    const watched = this.#watched.get(uuid);
    if (watched === undefined) return;
    watched.agent = connected;
    if (!connected) return;
    watched.askAt = performance.now();
    this.#poke();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#poke();
    await this.#work;
  }

  #poke(): void {
    this.#wake.resolve();
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#waitUntilDue();
      if (signal.aborted || !this.#options.client.connected || this.#watched.size === 0) continue;
      try {
        await this.#look(signal);
      } catch (error) {
        // The connection was lost, or libvirt was too slow: the next look follows.
        if (!signal.aborted) this.#options.log.debug({ err: error }, "the addresses of domains were not read");
      }
    }
  }

  async #waitUntilDue(): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(() => late.resolve(), this.#gap());
    await Promise.race([late.promise, this.#wake.promise]);
    clearTimeout(timer);
    this.#wake = Promise.withResolvers();
  }

  #gap(): number {
    const now = performance.now();
    const eager = [...this.#watched.values()].filter(({ addresses, eagerUntil }) => addresses.length === 0 || now < eagerUntil);
    const ages = eager.map(({ since }) => now - since);
    return Math.min(GAP_MS.most, Math.max(GAP_MS.least, Math.min(...ages) / 5));
  }

  async #look(signal: AbortSignal): Promise<void> {
    const leases = await this.#leases(signal);
    for (const watched of [...this.#watched.values()]) {
      const nics = await this.#options.interfacesOf(watched.dom.uuid, signal);
      const macs = new Set(nics.map(({ mac }) => mac));
      const leased = [...macs].flatMap((mac) => leases.get(mac) ?? []);
      if (performance.now() >= watched.askAt) watched.told = await this.#ask(watched, macs, leased.length === 0, signal);
      this.#found(watched, [...new Set([...leased, ...watched.told])]);
    }
  }

  #found(watched: Watched, addresses: readonly string[]): void {
    if (this.#watched.get(watched.dom.uuid) !== watched) return;
    const isSame = addresses.length === watched.addresses.length && addresses.every((address) => watched.addresses.includes(address));
    if (isSame) return;
    watched.addresses = addresses;
    this.#options.onChanged(watched.dom.uuid);
  }

  /** By MAC address. */
  async #leases(signal: AbortSignal): Promise<Map<string, string[]>> {
    const { client } = this.#options;
    const byMac = new Map<string, string[]>();
    const options = { signal, timeoutMs: CALL_MS };
    const listed = await orNull(client.call("connectListAllNetworks", { flags: LIST_NETWORKS.ACTIVE }, options), "NO_SUPPORT");
    for (const net of listed?.nets ?? []) {
      const answer = await refusedAsNull(client.call("networkGetDhcpLeases", { net }, options));
      for (const { mac, ipaddr } of answer?.leases ?? []) {
        if (mac !== null) byMac.set(mac.toLowerCase(), [...(byMac.get(mac.toLowerCase()) ?? []), ipaddr]);
      }
    }
    return byMac;
  }

  async #ask(watched: Watched, macs: ReadonlySet<string>, needed: boolean, signal: AbortSignal): Promise<string[]> {
    watched.asked += 1;
    watched.askAt = performance.now() + Math.min(ASK_MS.longest, ASK_MS.first * 2 ** Math.min(watched.asked, 10));
    const byAgent = watched.agent ? await this.#interfaceAddresses(watched.dom, ADDRESS_SOURCE.AGENT, macs, signal) : [];
    if (byAgent.length > 0 || !needed) return byAgent;
    return await this.#interfaceAddresses(watched.dom, ADDRESS_SOURCE.ARP, macs, signal);
  }

  /** Of the domain's own interfaces: a guest has more, such as bridges of containers. */
  async #interfaceAddresses(dom: DomainReference, source: number, macs: ReadonlySet<string>, signal: AbortSignal): Promise<string[]> {
    const call = this.#options.client.call("domainInterfaceAddresses", { dom, source }, { signal, timeoutMs: CALL_MS });
    const answer = await refusedAsNull(call);
    const own = answer?.ifaces.filter(({ hwaddr }) => macs.has(hwaddr?.toLowerCase() ?? "")) ?? [];
    return own.flatMap(({ addrs }) => addrs.map(({ addr }) => addr)).filter(isReachable);
  }
}

/** What libvirt cannot tell is not known; a lost connection is an error. */
async function refusedAsNull<T>(answer: Promise<T>): Promise<T | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof LibvirtError) return null;
    throw error;
  }
}

function isReachable(address: string): boolean {
  return !/^(127\.|169\.254\.|::1$|fe[89ab]|0\.)/i.test(address);
}
