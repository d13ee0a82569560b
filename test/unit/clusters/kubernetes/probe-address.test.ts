import { describe, expect, test } from "vitest";
import { addressRefusal, isLoopbackServer } from "../../../../subgraphs/clusters/services/kubernetes/prometheus/probe-address.ts";

describe("addresses that the discovery asks", () => {
  test.each(["10.0.0.5", "192.168.1.9", "172.18.0.3", "203.0.113.7", "fd12:3456::1", "2001:db8::7", "::ffff:10.0.0.5", "64:ff9b::a00:5"])(
    "%s may be asked",
    (address) => {
      expect(addressRefusal(address, { loopback: false })).toBeNull();
    },
  );

  test.each([
    "169.254.169.254",
    "169.254.0.1",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "fe80::1",
    "febf::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "::ffff:0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "ff02::1",
    "no address",
    "",
  ])("%s may not, wherever the cluster is", (address) => {
    expect(addressRefusal(address, { loopback: false })).not.toBeNull();
    expect(addressRefusal(address, { loopback: true })).not.toBeNull();
  });

  test.each(["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])(
    "%s only for a cluster on this machine",
    (address) => {
      expect(addressRefusal(address, { loopback: false })).not.toBeNull();
      expect(addressRefusal(address, { loopback: true })).toBeNull();
    },
  );

  test("which servers are on this machine", () => {
    for (const server of ["https://127.0.0.1:6443", "https://[::1]:6443/prefix", "https://localhost:1"])
      expect(isLoopbackServer(server)).toBe(true);
    for (const server of ["https://10.0.0.1:6443", "https://localhost.example.org", "https://[fd00::1]:1"]) {
      expect(isLoopbackServer(server)).toBe(false);
    }
  });
});
