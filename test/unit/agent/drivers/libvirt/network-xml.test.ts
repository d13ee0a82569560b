import { expect, test } from "vitest";
import { canonicalSubnet, natNetworkXml, overlaps, readNetworkXml } from "../../../../../agent/drivers/libvirt/network-xml.ts";

test.each([
  ["192.168.122.0/24", "192.168.122.0/24"],
  ["10.1.2.3/8", "10.0.0.0/8"],
  ["192.168.131.1/23", "192.168.130.0/23"],
  ["1.2.3.4/32", "1.2.3.4/32"],
  ["1.2.3.4/0", "0.0.0.0/0"],
  ["FD00:1::5/64", "fd00:1::/64"],
  ["::1/128", "::1/128"],
  ["1.2.3.4", null],
  ["1.2.3.4/", null],
  ["1.2.3.4/33", null],
  ["1.2.3/8", null],
  ["fd00::/129", null],
  ["default", null],
])("the subnet %s is written %s", (subnet, expected) => {
  expect(canonicalSubnet(subnet)).toBe(expected);
});

test("a network's subnets are those of its addresses, by netmask and by prefix", () => {
  const xml = `<network><name>n</name><ip address="192.168.122.1" netmask="255.255.255.0"><dhcp/></ip>
    <ip family="ipv6" address="fd00::1" prefix="64"/><ip address="10.9.8.7" prefix="30"/></network>`;
  expect(readNetworkXml(xml)).toEqual({ name: "n", subnets: ["192.168.122.0/24", "fd00::/64", "10.9.8.4/30"], dhcp: true });
  expect(readNetworkXml("<network><name>b</name><forward mode='bridge'/><bridge name='br0'/></network>")).toEqual({
    name: "b",
    subnets: [],
    dhcp: false,
  });
});

test("the default network is one that its own reader understands", () => {
  expect(readNetworkXml(natNetworkXml("default", 130))).toEqual({ name: "default", subnets: ["192.168.130.0/24"], dhcp: true });
});

test("a subnet is taken by what lies within it and by what it lies within", () => {
  expect(["192.168.122.0/24", "192.168.0.0/16", "192.168.122.128/25", "0.0.0.0/0"].map((taken) => overlaps(122, [taken]))).toEqual([
    true,
    true,
    true,
    true,
  ]);
  expect(["192.168.123.0/24", "10.0.0.0/8", "fd00::/64"].map((taken) => overlaps(122, [taken]))).toEqual([false, false, false]);
});
