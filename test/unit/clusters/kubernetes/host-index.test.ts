import { expect, test } from "vitest";
import { HostIndex, type MachineHints } from "../../../../subgraphs/clusters/services/kubernetes/objects/host-links.ts";

const MACHINE = "0123456789abcdef0123456789abcdef";

const index = new HostIndex([
  { id: "node-1", machineId: MACHINE, addresses: ["192.168.1.10"] },
  { id: "node-2", machineId: null, addresses: ["192.168.1.11", "fd00::b"] },
  { id: "node-3", machineId: null, addresses: ["192.168.1.12", "127.0.0.1"] },
  { id: "node-4", machineId: null, addresses: ["192.168.1.12"] },
  { id: "node-5", machineId: "ffffffffffffffffffffffffffffffff", addresses: ["192.168.1.15"] },
  { id: "node-6", machineId: "ffffffffffffffffffffffffffffffff", addresses: ["192.168.1.16"] },
]);

function hostOf(hints: Partial<MachineHints> & { ips?: string[] }): string | null {
  const addresses = (hints.ips ?? []).map((address) => ({ type: "InternalIP", address }));
  return index.find({ providerId: null, machineId: null, addresses, ...hints });
}

test.each<[what: string, hints: Partial<MachineHints> & { ips?: string[] }, host: string | null]>([
  ["its provider id", { providerId: "fleetgraph://node-2", ips: ["192.168.1.10"] }, "node-2"],
  ["a provider id of something else", { providerId: "aws:///eu-west-1a/i-1", ips: ["192.168.1.10"] }, "node-1"],
  ["its machine id, written otherwise", { machineId: "01234567-89AB-CDEF-0123-456789ABCDEF", ips: ["192.168.1.11"] }, "node-1"],
  ["a machine id that two hosts have", { machineId: "f".repeat(32), ips: ["192.168.1.15"] }, null],
  ["a machine id of zeros", { machineId: "0".repeat(32) }, null],
  ["an address", { ips: ["192.168.1.11"] }, "node-2"],
  ["an IPv6 address, written otherwise", { ips: ["FD00:0:0:0:0:0:0:B"] }, "node-2"],
  ["two addresses of one host", { ips: ["192.168.1.11", "fd00::b"] }, "node-2"],
  ["addresses of two hosts", { ips: ["192.168.1.10", "192.168.1.11"] }, null],
  ["an address that two hosts have", { ips: ["192.168.1.12"] }, null],
  ["an address that every machine has", { ips: ["127.0.0.1"] }, null],
  ["the address of a host that is another machine", { machineId: "1".repeat(32), ips: ["192.168.1.10"] }, null],
  ["a name that is written like an address", { addresses: [{ type: "Hostname", address: "192.168.1.10" }] }, null],
  ["nothing", {}, null],
])("a Kubernetes node is recognised by %s", (_what, hints, host) => {
  expect(hostOf(hints)).toBe(host);
});
