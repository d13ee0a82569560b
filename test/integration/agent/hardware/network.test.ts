import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { COUNTERS_NEEDS, readCounters, withRates } from "../../../../agent/hardware/network/counters.ts";
import { NETWORK_NEEDS, readNetwork } from "../../../../agent/hardware/network/network.ts";
import { LocalHost } from "../../../../agent/host/local.ts";
import { type InterfaceCounters, NetworkInterfaceKind as Kind } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { captureIn } from "../../../support/namespace-capture.ts";
import { NetworkNamespace } from "../../../support/network-namespace.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const run = promisify(execFile);

describeWithPeers("this machine's network", "network-namespaces", () => {
  it("is what `ip` shows to people", async () => {
    // Other tests make and remove interfaces: those that stay the same meanwhile are compared.
    const before = await interfacesShown();
    const { interfaces } = await readNetwork(new LocalHost(), NO_USERS);
    const after = await interfacesShown();
    const steady = [...before].filter(([name, shown]) => JSON.stringify(after.get(name)) === JSON.stringify(shown));
    expect(steady.map(([name]) => name)).toContain("lo");
    expect(steady.length).toBeGreaterThan(1);
    for (const [name, shown] of steady) {
      const read = interfaces.find((entry) => entry.name === name);
      const addresses = read?.addresses.map(({ address, prefixLength, scope }) => `${address}/${prefixLength} ${scope}`).sort();
      expect(shown).toEqual({
        index: read?.index,
        enabled: read?.enabled,
        mtu: read?.mtu,
        state: read?.state,
        mac: read?.mac ?? "",
        addresses,
      });
    }
  });
});

describeWithPeers("a network of virtual interfaces", "network-namespaces", () => {
  let namespace: NetworkNamespace;
  beforeAll(async () => {
    namespace = await NetworkNamespace.create(64);
    for (const line of [
      "link add br0 type bridge stp_state 1",
      "link add left type veth peer name right",
      "link set left master br0 up",
      "link set br0 up",
      "link add mv0 link eth0 type macvlan mode bridge",
      "link add vx0 type vxlan id 42 dev eth0 dstport 4789",
      "tuntap add dev tap0 mode tap",
      "tuntap add dev tun0 mode tun",
      "link set tap0 master br0 address 02:00:00:00:00:42 mtu 1400",
      "address add 192.0.2.77/25 dev br0",
    ]) {
      await run("ip", ["-n", namespace.name, ...line.split(" ")]);
    }
  });
  afterAll(() => namespace?.remove());

  it("is read with kinds, members and addresses, through the script that is run over SSH", async () => {
    const user = { instanceId: "inst-1", guestName: "one" };
    const host = await captureIn(namespace, NETWORK_NEEDS);
    const { interfaces, unavailable } = await readNetwork(host, { ...NO_USERS, interfaces: new Map([["tap0", user]]) });
    const byName = new Map(interfaces.map((entry) => [entry.name, entry]));
    expect(unavailable).toEqual([]);
    expect(byName.get("br0")).toMatchObject({
      ...{ kind: Kind.BRIDGE, enabled: true, bridge: { members: ["left", "tap0"], stp: true } },
    });
    expect(byName.get("br0")?.addresses).toContainEqual({ address: "192.0.2.77", prefixLength: 25, family: "IPv4", scope: "global" });
    expect(byName.get("left")).toMatchObject({ kind: Kind.VETH, master: "br0", speedMbps: undefined });
    expect(byName.get("right")).toMatchObject({ kind: Kind.VETH, enabled: false, carrier: undefined, state: "DOWN" });
    expect(byName.get("eth0")).toMatchObject({ kind: Kind.VETH, carrier: true, state: "UP", duplex: "full" });
    expect(byName.get("mv0")).toMatchObject({ kind: Kind.OTHER, linkType: "macvlan" });
    expect(byName.get("vx0")).toMatchObject({ kind: Kind.OTHER, linkType: "vxlan" });
    expect(byName.get("tap0")).toMatchObject({ kind: Kind.TAP, master: "br0", mac: "02:00:00:00:00:42", mtu: 1400, user });
    expect(byName.get("tun0")).toMatchObject({ kind: Kind.OTHER, linkType: "tun", mac: undefined });
  });

  it("counts what is sent there", async () => {
    const earlier = await readCounters(await captureIn(namespace, COUNTERS_NEEDS));
    const socket = createSocket("udp4");
    for (let sent = 0; sent < 50; sent += 1) {
      await new Promise((resolve, reject) =>
        socket.send(Buffer.alloc(1000), 9, namespace.address, (error) => (error ? reject(error) : resolve(null))),
      );
    }
    socket.close();
    const received = ({ interfaces }: { interfaces: InterfaceCounters[] }) => interfaces.find(({ name }) => name === "eth0")!;
    let later = earlier;
    await until(async () => {
      later = await readCounters(await captureIn(namespace, COUNTERS_NEEDS));
      return received(later).rxPackets - received(earlier).rxPackets >= 50;
    });
    expect(received(later).rxBytes - received(earlier).rxBytes).toBeGreaterThan(50_000);
    expect(received(withRates(later, earlier)).rxBytesPerSecond).toBeGreaterThan(0);
  });
});

/** What `ip` writes for people, of each interface that is in both of its lists. */
async function interfacesShown() {
  const lines = async (...args: string[]) => (await run("ip", ["-o", ...args])).stdout.trim().split("\n");
  const shown = new Map<string, { index: number; enabled: boolean; mtu: number; state: string; mac: string; addresses: string[] }>();
  for (const line of await lines("link")) {
    const [, index, name = "", flags] = /^(\d+): ([^:@]+)(?:@\S+)?: <([^>]*)>/.exec(line) ?? [];
    const word = (key: string) => new RegExp(`\\b${key} (\\S+)`).exec(line)?.[1] ?? "";
    const enabled = flags?.split(",").includes("UP") ?? false;
    const mac = word("link/(?:ether|loopback)");
    shown.set(name, { index: Number(index), enabled, mtu: Number(word("mtu")), state: word("state"), mac, addresses: [] });
  }
  for (const line of await lines("address")) {
    const [, name = "", address, scope] = /^\d+: (\S+)\s+inet6? (\S+) .*?scope (\S+)/.exec(line) ?? [];
    shown.get(name)?.addresses.push(`${address} ${scope}`);
  }
  for (const { addresses } of shown.values()) addresses.sort();
  return shown;
}
