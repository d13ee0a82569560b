import { BlockList, isIP } from "node:net";
import type { Store } from "../../../../kit/store/orm.ts";
import { Node } from "../../../entities/node.ts";
import type { KubernetesNodeView } from "./node-object.ts";

/** How long it may take until a change of a host shows. */
const KEEP_MS = 5_000;

/** What a Kubernetes node says about the machine it runs on. */
export type MachineHints = Pick<KubernetesNodeView, "providerId" | "machineId" | "addresses">;

/** A host, as far as it is recognised by. */
export interface HostMarks {
  id: string;
  machineId: string | null;
  addresses: string[];
}

/** Which of the fleet's hosts Kubernetes nodes run on. The hosts are read at most every 5 s, for all who ask. */
export class HostLinks {
  readonly #store: Store;
  #read: { at: number; index: Promise<HostIndex> } | null = null;

  constructor(store: Store) {
    this.#store = store;
  }

  /** The id of the Node; null where none, or more than one, matches. Rights are the caller's to check. */
  async hostOf(hints: MachineHints): Promise<string | null> {
    return (await this.#index()).find(hints);
  }

  #index(): Promise<HostIndex> {
    const now = performance.now();
    if (this.#read && now - this.#read.at < KEEP_MS) return this.#read.index;
    const read = { at: now, index: this.#readHosts() };
    this.#read = read;
    read.index.catch(() => {
      if (this.#read === read) this.#read = null;
    });
    return read.index;
  }

  #readHosts(): Promise<HostIndex> {
    return this.#store.read(async (em) => {
      const nodes = await em.find(Node, { deregisteredAt: null }, { fields: ["id", "ip", "uri", "machineId"] });
      return new HostIndex(
        nodes.map(({ id, ip, uri, machineId }) => ({
          id,
          machineId,
          addresses: [ip, hostOfUri(uri)].flatMap((address) => address ?? []),
        })),
      );
    });
  }
}

/** Hosts by what they are recognised by; null where several share it. */
export class HostIndex {
  readonly #ids = new Set<string>();
  readonly #machineIds = new Map<string, string>();
  readonly #byMachineId = new Map<string, string | null>();
  readonly #byAddress = new Map<string, string | null>();

  constructor(hosts: readonly HostMarks[]) {
    for (const { id, machineId, addresses } of hosts) {
      this.#ids.add(id);
      const mark = canonicalMachineId(machineId);
      if (mark !== null) this.#machineIds.set(id, mark);
      if (mark !== null) addTo(this.#byMachineId, mark, id);
      for (const address of new Set(addresses.flatMap((one) => canonicalAddress(one) ?? []))) addTo(this.#byAddress, address, id);
    }
  }

  /** By the first that says anything: a provider id that ends with a Node's id, the machine id, the addresses. */
  find({ providerId, machineId, addresses }: MachineHints): string | null {
    const provided = providerId?.split("/").at(-1) ?? "";
    if (this.#ids.has(provided)) return provided;
    const mark = canonicalMachineId(machineId);
    const sameMachine = mark === null ? undefined : this.#byMachineId.get(mark);
    if (sameMachine !== undefined) return sameMachine;
    const found = new Set(
      addresses.flatMap(({ type, address }) => {
        const ip = type.endsWith("IP") ? canonicalAddress(address) : null;
        const host = ip === null ? undefined : this.#byAddress.get(ip);
        return host === undefined ? [] : [host];
      }),
    );
    const [host = null] = found;
    if (found.size !== 1 || host === null) return null;
    // The same address in two networks: two known machine ids say which it is.
    const known = this.#machineIds.get(host);
    return mark !== null && known !== undefined && known !== mark ? null : host;
  }
}

function addTo(index: Map<string, string | null>, key: string, id: string): void {
  index.set(key, index.has(key) ? null : id);
}

/** Many machines have these. */
const NOT_ONE_MACHINES = new BlockList();
NOT_ONE_MACHINES.addSubnet("0.0.0.0", 8, "ipv4");
NOT_ONE_MACHINES.addSubnet("127.0.0.0", 8, "ipv4");
NOT_ONE_MACHINES.addSubnet("169.254.0.0", 16, "ipv4");
NOT_ONE_MACHINES.addSubnet("::", 127, "ipv6");
NOT_ONE_MACHINES.addSubnet("fe80::", 10, "ipv6");

/** One spelling per address; null for what is no machine's own. */
function canonicalAddress(address: string): string | null {
  const family = isIP(address);
  if (family === 0 || NOT_ONE_MACHINES.check(address, family === 6 ? "ipv6" : "ipv4")) return null;
  return family === 6 ? new URL(`http://[${address.replace(/%.*$/, "")}]`).hostname : address;
}

/** Written with and without hyphens; clones that were never given one have none, or only zeros. */
function canonicalMachineId(machineId: string | null): string | null {
  const digits = machineId?.replaceAll("-", "").toLowerCase() ?? "";
  return /^[0-9a-f]{32}$/.test(digits) && !/^0+$/.test(digits) ? digits : null;
}

/** "qemu+ssh://root@10.0.0.5/system". */
function hostOfUri(uri: string | null): string | null {
  const host = uri === null || !URL.canParse(uri) ? "" : new URL(uri).hostname.replace(/^\[|\]$/g, "");
  return host === "" ? null : host;
}
