import type { BondInfo, BridgeInfo } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel } from "../../host/host-channel.ts";
import { countOf, namesIn, textOf } from "../sysfs.ts";

const NET = "/sys/class/net";

export const BRIDGE_AND_BOND_PATHS = [
  ...["bridge/stp_state", "bridge/vlan_filtering", "brif"],
  ...["bonding/mode", "bonding/slaves", "bonding/primary"],
  ...["bonding_slave/state", "bonding_slave/mii_status"],
].map((name) => `${NET}/*/${name}`);

/** Undefined for what is no bridge of the kernel's. */
export async function readBridge(host: HostChannel, name: string): Promise<BridgeInfo | undefined> {
  const stp = await countOf(host, `${NET}/${name}/bridge/stp_state`);
  if (stp === undefined) return undefined;
  const filtering = await countOf(host, `${NET}/${name}/bridge/vlan_filtering`);
  return {
    members: await namesIn(host, `${NET}/${name}/brif`),
    // 1: the kernel's own, 2: a daemon's.
    stp: stp !== 0,
    vlanFiltering: filtering === undefined ? undefined : filtering !== 0,
  };
}

/** Undefined for what is no bond. */
export async function readBond(host: HostChannel, name: string): Promise<BondInfo | undefined> {
  const mode = await textOf(host, `${NET}/${name}/bonding/mode`);
  if (mode === undefined) return undefined;
  const members = wordsOf(await textOf(host, `${NET}/${name}/bonding/slaves`));
  return {
    // "active-backup 1"
    mode: wordsOf(mode)[0],
    members,
    active: await activeMembers(host, members),
    // "eth0", or nothing.
    primary: wordsOf(await textOf(host, `${NET}/${name}/bonding/primary`))[0],
  };
}

/** A member of a balancing bond is never a backup, also without a link: it carries traffic only with one. */
async function activeMembers(host: HostChannel, members: readonly string[]): Promise<string[]> {
  const active: string[] = [];
  for (const member of members) {
    const state = await textOf(host, `${NET}/${member}/bonding_slave/state`);
    const link = await textOf(host, `${NET}/${member}/bonding_slave/mii_status`);
    if (state === "active" && link === "up") active.push(member);
  }
  return active;
}

function wordsOf(text: string | undefined): string[] {
  return text?.split(/\s+/).filter((word) => word !== "") ?? [];
}
