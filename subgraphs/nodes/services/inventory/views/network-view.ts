import type {
  InterfaceCounters,
  NetworkCounters,
  NetworkInterface,
} from "../../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { unavailableReason } from "../../../../kit/agents/node-record.ts";
import type { ContentOf, Stored } from "../inventory-parts.ts";
import type { Live } from "../live-reads.ts";
import { byName, knownList, neverReported, type Unavailable } from "../unavailable.ts";
import { type DeviceUserView, deviceUserView } from "./device-user-view.ts";
import { enumName, INTERFACE_KINDS, type InterfaceKindName } from "./enum-names.ts";
import { sriovView } from "./pci-view.ts";

export interface NetworkSources {
  inventory: { content: ContentOf<"NETWORK">; observedAt: Date } | null;
  /** Why there is no inventory. */
  missing: Unavailable["reason"];
  /** Null where nobody asked for counters. */
  counters: Live<NetworkCounters> | null;
}

export type InterfaceView = ReturnType<typeof interfaceView>;

/** A host's interfaces, by kind; all lists are null where they could not be read. */
export interface NetworkView {
  nics: InterfaceView[] | null;
  bridges: InterfaceView[] | null;
  bonds: InterfaceView[] | null;
  vlans: InterfaceView[] | null;
  virtualFunctions: InterfaceView[] | null;
  /** Of the other kinds. */
  others: InterfaceView[] | null;
  observedAt: Date | null;
  unavailable: Unavailable[];
}

export function networkView({ inventory, missing, counters }: NetworkSources): NetworkView {
  const content = inventory?.content;
  const readings = counters && "value" in counters ? new Map(counters.value.interfaces.map((one) => [one.name, one])) : null;
  const all = knownList(content, "interfaces", content?.interfaces);
  const users = new Map(all?.map(({ name, user }) => [name, deviceUserView(user)]));
  const views = all?.map((one) => interfaceView(one, users, readings?.get(one.name)));
  const of = (...kinds: Array<InterfaceKindName | null>) => views?.filter(({ kind }) => kinds.includes(kind)) ?? null;
  return {
    nics: of("PHYSICAL"),
    bridges: of("BRIDGE"),
    bonds: of("BOND"),
    vlans: of("VLAN"),
    virtualFunctions: of("VIRTUAL_FUNCTION"),
    others: of("VETH", "TAP", "LOOPBACK", "OTHER", null),
    observedAt: inventory?.observedAt ?? null,
    unavailable: [
      ...(content
        ? byName(content.unavailable, { interfaces: content.interfaces.map(({ name }) => name) })
        : neverReported(["interfaces"], missing)),
      ...countersUnavailable(counters),
    ],
  };
}

/** `users`: of the host's interfaces by name, for the members of a bridge. */
export function interfaceView(
  { bridge, bond, sriov, user, ...one }: Stored<NetworkInterface>,
  users: ReadonlyMap<string, DeviceUserView | null> = new Map(),
  counters?: InterfaceCounters,
) {
  const member = (name: string) => ({ name, user: users.get(name) ?? null });
  return {
    ...one,
    kind: enumName(INTERFACE_KINDS, "NETWORK_INTERFACE_KIND_", one.kind),
    linkType: one.linkType || null,
    user: deviceUserView(user),
    bridge: bridge ? { ...bridge, members: bridge.members.map(member) } : null,
    bond: bond ?? null,
    sriov: sriov ? sriovView(sriov) : null,
    counters: counters ?? null,
  };
}

/** Of the counters alone; their own paths begin with `counters`. */
function countersUnavailable(counters: Live<NetworkCounters> | null): Unavailable[] {
  if (counters === null) return [];
  if ("refusal" in counters) {
    return [{ field: "counters", reason: unavailableReason(counters.refusal), message: counters.refusal.message }];
  }
  const { interfaces, unavailable } = counters.value;
  const named = byName(unavailable, { interfaces: interfaces.map(({ name }) => name) });
  return named.map((one) => ({ ...one, field: one.field.startsWith("counters") ? one.field : `counters.${one.field}` }));
}
