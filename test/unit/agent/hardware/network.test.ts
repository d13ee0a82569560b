import { describe, expect, it } from "vitest";
import { type DeviceUsers, NO_USERS } from "../../../../agent/hardware/device-users.ts";
import { IP_ADDRESSES } from "../../../../agent/hardware/network/ip-addresses.ts";
import { readNetwork } from "../../../../agent/hardware/network/network.ts";
import { commandKey } from "../../../../agent/host/capture/format.ts";
import type { HostChannel } from "../../../../agent/host/host-channel.ts";
import { NetworkInterfaceKind as Kind, type NetworkInterface } from "../../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { hostOf, openRichGuestCapture } from "../../../support/captured-devices.ts";

describe("the network of a captured host", () => {
  it("tells what each interface is", async () => {
    const interfaces = await interfacesOf(await openRichGuestCapture());
    expect(Object.fromEntries([...interfaces].map(([name, { kind, linkType }]) => [name, [kind, linkType]]))).toEqual({
      lo: [Kind.LOOPBACK, ""],
      enp0s4: [Kind.PHYSICAL, ""],
      enp1s0: [Kind.PHYSICAL, ""],
      bond0: [Kind.BOND, "bond"],
      "bond0.20": [Kind.VLAN, "vlan"],
      br0: [Kind.BRIDGE, "bridge"],
      dummy0: [Kind.OTHER, "dummy"],
      tap0: [Kind.TAP, "tun"],
      veth0: [Kind.VETH, "veth"],
      veth1: [Kind.VETH, "veth"],
    });
  });

  it("reads a network card: link, driver, PCI address, and the address that the bond hides", async () => {
    const interfaces = await interfacesOf(await openRichGuestCapture());
    expect(interfaces.get("enp1s0")).toMatchObject({
      ...{ index: 3, state: "UP", enabled: true, carrier: true, speedMbps: 1000, duplex: "full", mtu: 1500 },
      ...{ driver: "e1000e", pciAddress: "0000:01:00.0", master: "bond0" },
      ...{ mac: "da:49:4c:d7:41:44", permanentMac: "52:54:00:f1:ee:02" },
    });
    expect(interfaces.get("enp0s4")).toMatchObject({ driver: "virtio_net", pciAddress: "0000:00:04.0", permanentMac: "52:54:00:f1:ee:01" });
    expect(interfaces.get("enp0s4")?.addresses).toEqual([{ address: "10.0.2.15", prefixLength: 24, family: "IPv4", scope: "global" }]);
  });

  it("reads the bond, the VLAN on it, and the bridge", async () => {
    const interfaces = await interfacesOf(await openRichGuestCapture());
    expect(interfaces.get("bond0")?.bond).toEqual({
      ...{ mode: "active-backup", members: ["enp1s0", "dummy0"], active: ["enp1s0"], primary: "enp1s0" },
    });
    expect(interfaces.get("bond0.20")?.vlan).toEqual({ vlanId: 20, parent: "bond0", protocol: "802.1Q" });
    expect(interfaces.get("br0")?.bridge).toEqual({ members: ["tap0", "veth0"], stp: true, vlanFiltering: true });
    expect(interfaces.get("tap0")).toMatchObject({ enabled: false, carrier: undefined, master: "br0" });
  });

  it("knows a bond member's own address also where the bond uses the same", async () => {
    const host = await openRichGuestCapture(({ commands }) => {
      const told = commands.get(commandKey(IP_ADDRESSES))!;
      commands.set(commandKey(IP_ADDRESSES), { ...told, stdout: told.stdout.replace('"permaddr":"52:54:00:f1:ee:02",', "") });
    });
    expect((await interfacesOf(host)).get("enp1s0")?.permanentMac).toBe("52:54:00:f1:ee:02");
  });

  it("takes no member for active that has no link", async () => {
    const host = await openRichGuestCapture(({ entries }) => {
      entries.set("/sys/class/net/enp1s0/bonding_slave/mii_status", { content: "down\n" });
    });
    expect((await interfacesOf(host)).get("bond0")?.bond?.active).toEqual([]);
  });

  it("names the guest that has a tap", async () => {
    const user = { instanceId: "inst-1", guestName: "one" };
    const interfaces = await interfacesOf(await openRichGuestCapture(), { ...NO_USERS, interfaces: new Map([["tap0", user]]) });
    expect(interfaces.get("tap0")?.user).toEqual(user);
    expect(interfaces.get("veth0")?.user).toBeUndefined();
  });

  it("says of a card why it has no speed, and of virtual interfaces nothing", async () => {
    const { interfaces, unavailable } = await readNetwork(await openRichGuestCapture(), NO_USERS);
    const index = interfaces.findIndex(({ name }) => name === "enp0s4");
    expect(unavailable.map(({ field, reason }) => [field, reason])).toEqual([
      [`interfaces[${index}].speedMbps`, "NOT_SUPPORTED"],
      [`interfaces[${index}].duplex`, "NOT_SUPPORTED"],
    ]);
  });

  it("gives what sysfs has on a host without `ip`", async () => {
    const host = await openRichGuestCapture(({ commands }) => {
      commands.delete(commandKey(IP_ADDRESSES));
    });
    const { interfaces, unavailable } = await readNetwork(host, NO_USERS);
    const byName = new Map(interfaces.map((entry) => [entry.name, entry]));
    expect(byName.get("br0")).toMatchObject({ kind: Kind.BRIDGE, bridge: { members: ["tap0", "veth0"] }, addresses: [] });
    expect(byName.get("bond0.20")).toMatchObject({ kind: Kind.VLAN, linkType: "vlan", vlan: undefined });
    expect(byName.get("veth0")?.kind).toBe(Kind.OTHER);
    expect(byName.get("enp0s4")?.permanentMac).toBe("52:54:00:f1:ee:01");
    expect(byName.get("enp1s0")?.permanentMac).toBeUndefined();
    const fields = unavailable.map(({ field }) => field.replace(/\d+/, "N"));
    expect(fields).toEqual(expect.arrayContaining(["interfaces[*].addresses", "interfaces[N].vlan", "interfaces[N].permanentMac"]));
  });

  it("goes without what an `ip` that knows no JSON says", async () => {
    const told = (stdout: string, exitCode: number) =>
      openRichGuestCapture(({ commands }) => {
        commands.set(commandKey(IP_ADDRESSES), {
          command: { ...IP_ADDRESSES, privileged: false },
          exitCode,
          stdout,
          stderr: "invalid option -- j",
        });
      });
    const reasons = async (host: HostChannel) =>
      (await readNetwork(host, NO_USERS)).unavailable.find(({ field }) => field === "interfaces[*].addresses");
    expect(await reasons(await told("", 1))).toMatchObject({ reason: "NOT_SUPPORTED", message: expect.stringContaining("invalid option") });
    expect(await reasons(await told("1: lo: <LOOPBACK>", 0))).toMatchObject({ reason: "MALFORMED" });
    // One entry that is odd, and the empty ones that older versions write.
    const odd = JSON.stringify([
      {},
      7,
      { ifname: "enp0s4", addr_info: [null, { family: "inet", local: "10.9.9.9", prefixlen: 8, scope: "global" }, { family: "mpls" }] },
    ]);
    expect((await interfacesOf(await told(odd, 0))).get("enp0s4")?.addresses.map(({ address }) => address)).toEqual(["10.9.9.9"]);
  });

  it("is empty with the reason where there is no sysfs", async () => {
    expect(await readNetwork(hostOf({}), NO_USERS)).toMatchObject({
      interfaces: [],
      unavailable: [{ field: "interfaces", reason: "NOT_PRESENT" }],
    });
  });
});

// Written from the kernel's documentation (Documentation/ABI/testing/sysfs-bus-pci): QEMU 7.2 has no network card with SR-IOV.
describe("a network card with virtual functions (from documentation)", () => {
  const net = (name: string, device: string, ifindex: number) => ({
    [`/sys/class/net/${name}`]: `-> ../../devices/pci0000:00/0000:00:01.0/${device}/net/${name}`,
    [`/sys/class/net/${name}/ifindex`]: `${ifindex}\n`,
    [`/sys/class/net/${name}/flags`]: "0x1003\n",
    [`/sys/class/net/${name}/device`]: `-> ../../../${device}`,
  });
  const tree = {
    "/sys/class/net": ["bonding_masters", "pf", "vf"],
    "/sys/class/net/bonding_masters": "bond0\n",
    ...net("pf", "0000:01:00.0", 2),
    ...net("vf", "0000:01:10.0", 3),
    "/sys/class/net/vf/device/physfn": "-> ../0000:01:00.0",
    "/sys/bus/pci/devices/0000:01:00.0/sriov_totalvfs": "7\n",
    "/sys/bus/pci/devices/0000:01:00.0/sriov_numvfs": "2\n",
    "/sys/bus/pci/devices/0000:01:00.0/virtfn0": "-> ../0000:01:10.0",
    "/sys/bus/pci/devices/0000:01:00.0/virtfn1": "-> ../0000:01:10.2",
    "/sys/bus/pci/devices/0000:01:10.0/driver": "-> ../../../bus/pci/drivers/igbvf",
    "/sys/bus/pci/devices/0000:01:10.0/net": ["vf"],
    "/sys/bus/pci/devices/0000:01:10.2/driver": "-> ../../../bus/pci/drivers/vfio-pci",
  };

  it("lists them with their drivers, interfaces and users; a file beside the interfaces is none", async () => {
    const user = { instanceId: "inst-1", guestName: "one" };
    const interfaces = await interfacesOf(hostOf(tree), { ...NO_USERS, pci: new Map([["0000:01:10.2", user]]) });
    expect([...interfaces.keys()]).toEqual(["pf", "vf"]);
    expect(interfaces.get("vf")?.kind).toBe(Kind.VIRTUAL_FUNCTION);
    expect(interfaces.get("pf")).toMatchObject({ kind: Kind.PHYSICAL, pciAddress: "0000:01:00.0" });
    expect(interfaces.get("pf")?.sriov).toEqual({
      totalVfs: 7,
      enabledVfs: 2,
      functions: [
        { index: 0, address: "0000:01:10.0", driver: "igbvf", interfaces: ["vf"], user: undefined },
        { index: 1, address: "0000:01:10.2", driver: "vfio-pci", interfaces: [], user },
      ],
    });
  });
});

async function interfacesOf(host: HostChannel, users: DeviceUsers = NO_USERS): Promise<Map<string, NetworkInterface>> {
  return new Map((await readNetwork(host, users)).interfaces.map((entry) => [entry.name, entry]));
}
