import type { Logger } from "../../../platform/observability/log.ts";
import type { NetworkSpec } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { LibvirtClient } from "../../libvirt/client.ts";
import { LibvirtError } from "../../libvirt/errors.ts";
import type { NetworkReference } from "../../libvirt/protocol/structures.ts";
import { invalid, precondition } from "../shared/refusals.ts";
import { attempt, driverError, orNull } from "./driver-errors.ts";
import { canonicalSubnet, type NetworkFacts, natNetworkXml, overlaps, readNetworkXml } from "./network-xml.ts";

export interface NetworksOptions {
  client: LibvirtClient;
  log: Logger;
  /** The libvirt network that gives public addresses; null where the host has none. */
  publicNetwork: string | null;
}

/** Works on every host: it is made where there is none of that name. */
export const DEFAULT_NETWORK = "default";
const NO_NETWORK = "none";
/** Where libvirt's own default network is, and the first that is tried. */
const FIRST_SUBNET = 122;
const SUBNETS = 256;
/** Where an instance's specification says it. */
const PLACE = "spec.network";
const FIELD = `${PLACE}.networkId`;

/** The networks that interfaces are put on: libvirt's, by their names. */
export class Networks {
  readonly #options: NetworksOptions;
  readonly #client: LibvirtClient;
  #makingDefault: Promise<void> | null = null;

  constructor(options: NetworksOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /**
   * The names of the networks for an instance's interfaces, in their order. Makes the default network where it is asked for and missing;
   * nothing else. FAILED_PRECONDITION NetworkNotFound, SubnetNotFound, NoPublicNetwork or NetworksUnsupported. `place`: what errors name.
   */
  async choose(spec: NetworkSpec | undefined, signal: AbortSignal, place = PLACE): Promise<string[]> {
    const networkId = spec?.networkId || DEFAULT_NETWORK;
    const subnetId = spec?.subnetId ?? "";
    const chosen: string[] = [];
    if (networkId !== NO_NETWORK) {
      if (networkId === DEFAULT_NETWORK) await this.#ensureDefault(signal);
      const facts = await this.#facts(networkId, `${place}.networkId`, signal);
      if (subnetId !== "") checkSubnet(subnetId, facts, `${place}.subnetId`);
      chosen.push(networkId);
    } else if (subnetId !== "") {
      throw precondition("SubnetNotFound", `Without a network there is no subnet ${subnetId}: leave ${place}.subnetId out.`, {
        field: `${place}.subnetId`,
      });
    }
    if (spec?.assignPublicIp) chosen.push(await this.#public(signal));
    return chosen;
  }

  /** Starts those that do not run; the default network is made again where it has gone. */
  async start(names: readonly string[], signal: AbortSignal): Promise<void> {
    for (const name of new Set(names)) {
      if (name === DEFAULT_NETWORK) await this.#ensureDefault(signal);
      const net = await this.#lookUp(name, FIELD, signal);
      const { active } = await this.#client.call("networkIsActive", { net }, { signal });
      if (!active) await this.#startOne(net, signal);
    }
  }

  async #public(signal: AbortSignal): Promise<string> {
    const { publicNetwork } = this.#options;
    const field = "spec.network.assignPublicIp";
    if (publicNetwork === null) {
      const message =
        "This host has no public network: set agent.publicNetwork to the name of a libvirt network, or do not ask for a public address.";
      throw precondition("NoPublicNetwork", message, { field });
    }
    await this.#lookUp(publicNetwork, field, signal);
    return publicNetwork;
  }

  async #facts(name: string, field: string, signal: AbortSignal): Promise<NetworkFacts> {
    const net = await this.#lookUp(name, field, signal);
    return readNetworkXml((await this.#client.call("networkGetXmlDesc", { net }, { signal })).xml);
  }

  async #lookUp(name: string, field: string, signal: AbortSignal): Promise<NetworkReference> {
    const found = await this.#find(name, signal);
    if (found !== null) return found;
    const networks = (await this.#list(signal)).map((net) => net.name).sort();
    const there = networks.length === 0 ? "it has none" : `it has ${networks.join(", ")}`;
    throw precondition("NetworkNotFound", `This host has no network ${JSON.stringify(name)}; ${there}.`, { field, networks });
  }

  async #find(name: string, signal: AbortSignal): Promise<NetworkReference | null> {
    try {
      return (await orNull(this.#client.call("networkLookupByName", { name }, { signal }), "NO_NETWORK"))?.net ?? null;
    } catch (error) {
      throw unsupportedOr(error, `look for the network ${name}`);
    }
  }

  async #list(signal: AbortSignal): Promise<NetworkReference[]> {
    return (await attempt("list networks", () => this.#client.call("connectListAllNetworks", {}, { signal }))).nets;
  }

  async #startOne(net: NetworkReference, signal: AbortSignal): Promise<void> {
    try {
      await this.#client.call("networkCreate", { net }, { signal });
    } catch (error) {
      // Somebody else was faster.
      const { active } = await this.#client.call("networkIsActive", { net }, { signal });
      if (!active) throw notStarted(net.name, error);
    }
  }

  async #ensureDefault(signal: AbortSignal): Promise<void> {
    if ((await this.#find(DEFAULT_NETWORK, signal)) !== null) return;
    // Once for all that ask; it goes on where one of them gives up.
    this.#makingDefault ??= this.#makeDefault(AbortSignal.timeout(MAKE_MS)).finally(() => {
      this.#makingDefault = null;
    });
    await this.#makingDefault;
  }

  /** libvirt refuses to start a network whose addresses the host knows already; the next one is tried then. */
  async #makeDefault(signal: AbortSignal): Promise<void> {
    const taken: string[] = [];
    for (const net of await this.#list(signal)) {
      taken.push(...readNetworkXml((await this.#client.call("networkGetXmlDesc", { net }, { signal })).xml).subnets);
    }
    for (let step = 0; step < SUBNETS; step++) {
      const third = (FIRST_SUBNET + step) % SUBNETS;
      if (overlaps(third, taken)) continue;
      const net = await this.#makeAt(third, signal);
      if (net === null) continue;
      // Started first and kept then, so that a crash in between leaves none that cannot be started.
      const { xml } = await this.#client.call("networkGetXmlDesc", { net }, { signal });
      await attempt("keep the default network", () => this.#client.call("networkDefineXml", { xml }, { signal }));
      this.#options.log.info({ network: DEFAULT_NETWORK, subnet: `192.168.${third}.0/24` }, "made the default network");
      return;
    }
    throw precondition(
      "NetworkNotStarted",
      "Every subnet from 192.168.0.0/24 to 192.168.255.0/24 is in use on this host: define a network named default.",
    );
  }

  /** Null where the host uses these addresses. */
  async #makeAt(third: number, signal: AbortSignal): Promise<NetworkReference | null> {
    try {
      return (await this.#client.call("networkCreateXml", { xml: natNetworkXml(DEFAULT_NETWORK, third) }, { signal })).net;
    } catch (error) {
      if (error instanceof LibvirtError && /already in use/i.test(error.message)) return null;
      // Another client may have made it.
      const found = await this.#find(DEFAULT_NETWORK, signal);
      if (found !== null) return found;
      throw notStarted(DEFAULT_NETWORK, error);
    }
  }
}

const MAKE_MS = 60_000;

function checkSubnet(subnetId: string, { name, subnets }: NetworkFacts, field: string): void {
  const wanted = canonicalSubnet(subnetId);
  if (wanted === null) {
    throw invalid("SubnetInvalid", field, `${JSON.stringify(subnetId)} is no subnet: write it as 192.168.122.0/24.`);
  }
  if (subnets.includes(wanted)) return;
  const there = subnets.length === 0 ? "which names no subnets of its own" : `which has ${subnets.join(", ")}`;
  const message = `The subnet ${subnetId} is not one of the network ${JSON.stringify(name)}, ${there}.`;
  throw precondition("SubnetNotFound", message, { field, subnets });
}

function notStarted(name: string, error: unknown) {
  const task = `start the network ${JSON.stringify(name)}`;
  if (!(error instanceof LibvirtError)) return driverError(error, task);
  const help = /dnsmasq|iptables|ebtables|nft/i.test(error.message) ? " Install dnsmasq-base and iptables." : "";
  const message = `libvirt could not ${task}: ${error.message}.${help}`;
  return precondition("NetworkNotStarted", message, { field: FIELD });
}

function unsupportedOr(error: unknown, task: string) {
  if (!LibvirtError.isCode(error, "NO_SUPPORT")) return driverError(error, task);
  const message =
    "libvirt on this host has no networks: install its network driver (Debian: libvirt-daemon; Fedora: libvirt-daemon-driver-network).";
  return precondition("NetworksUnsupported", message, { field: FIELD });
}
