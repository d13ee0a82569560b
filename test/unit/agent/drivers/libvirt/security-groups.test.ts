import { describe, expect, test } from "vitest";
import { groupFilterXml, instanceFilterXml, referencesOf } from "../../../../../agent/drivers/libvirt/nwfilter-xml.ts";
import { parseSecurityGroups } from "../../../../../agent/drivers/libvirt/security-group-rules.ts";
import { attribute, elements, parseXml } from "../../../../../agent/drivers/libvirt/xml.ts";

describe("security groups in the configuration", () => {
  test("are read with what may be left out", () => {
    const groups = parseSecurityGroups({
      web: [
        { protocol: "tcp", ports: "8000-9000" },
        { protocol: "tcp", ports: 22, cidr: "10.1.2.3/8" },
      ],
      open: [{ direction: "out", protocol: "all", cidr: "fd00::1" }],
      closed: [],
    });
    expect(Object.fromEntries(groups)).toEqual({
      web: [
        { direction: "in", protocol: "tcp", ports: { first: 8000, last: 9000 }, cidr: null },
        { direction: "in", protocol: "tcp", ports: { first: 22, last: 22 }, cidr: "10.0.0.0/8" },
      ],
      open: [{ direction: "out", protocol: "all", ports: null, cidr: "fd00::1/128" }],
      closed: [],
    });
    expect(parseSecurityGroups(null).size).toBe(0);
  });

  test.each([
    [{ web: [{ protocol: "tcp", ports: "0" }] }, "web.0.ports"],
    [{ web: [{ protocol: "tcp", ports: "90-80" }] }, "web.0.ports"],
    [{ web: [{ protocol: "tcp", ports: "1-65536" }] }, "web.0.ports"],
    [{ web: [{ protocol: "icmp", ports: "1" }] }, "web.0"],
    [{ web: [{ protocol: "tcp", cidr: "10.0.0.0/40" }] }, "web.0.cidr"],
    [{ web: [{ protocol: "gre" }] }, "web.0.protocol"],
    [{ web: [{ protocol: "tcp", port: 22 }] }, "web.0"],
    [{ "a/b": [] }, "a/b"],
    [{ web: "tcp" }, "web"],
    [[], ""],
  ])("%j is refused at %s", (value, field) => {
    expect(() => parseSecurityGroups(value)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", reason: "SecurityGroupsInvalid", details: { field } }),
    );
  });
});

/** "accept in 500 tcp dstportstart=22", one for each rule. */
function rulesOf(xml: string): string[] {
  return elements(parseXml(xml, "filter"), "rule").flatMap((rule) => {
    const head = ["action", "direction", "priority"].map((name) => attribute(rule, name)).join(" ");
    const protocols = Object.keys(rule).filter((name) => !name.startsWith("@"));
    return protocols.map((protocol) => {
      const [content = {}] = elements(rule, protocol);
      const values = Object.keys(content).map((name) => `${name.slice(1)}=${attribute(content, name.slice(1))}`);
      return [head, protocol, ...values].join(" ");
    });
  });
}

describe("filters", () => {
  test("of a group accept what its rules say, in both families unless a subnet says which", () => {
    const rules = parseSecurityGroups({
      g: [
        { protocol: "tcp", ports: "22-23" },
        { direction: "out", protocol: "udp", ports: "53", cidr: "10.0.0.0/8" },
        { protocol: "icmp", cidr: "fd00::/8" },
      ],
    }).get("g");
    expect(rulesOf(groupFilterXml("fleetgraph-sg-g", null, rules ?? []))).toEqual([
      "accept in 500 tcp dstportstart=22 dstportend=23",
      "accept in 500 tcp-ipv6 dstportstart=22 dstportend=23",
      "accept out 500 udp dstipaddr=10.0.0.0 dstipmask=8 dstportstart=53 dstportend=53",
      "accept in 500 icmpv6 srcipaddr=fd00:: srcipmask=8",
    ]);
  });

  test("of an instance with groups drop what nothing accepts, last of all", () => {
    const filter = { references: ["fleetgraph-sg-g", "clean-traffic"], dropsTheRest: true, allowsOut: true };
    const xml = instanceFilterXml("fleetgraph-inst-1", "u", filter);
    expect(referencesOf(xml)).toEqual(["fleetgraph-sg-g", "clean-traffic"]);
    expect(rulesOf(xml).slice(-4)).toEqual([
      "accept out 900 all",
      "accept out 900 all-ipv6",
      "drop inout 1000 all",
      "drop inout 1000 all-ipv6",
    ]);
    expect(rulesOf(instanceFilterXml("f", null, { ...filter, allowsOut: false }))).not.toContain("accept out 900 all");
  });

  test("of an instance with the host's own filters alone add nothing", () => {
    const xml = instanceFilterXml("f", null, { references: ["clean-traffic"], dropsTheRest: false, allowsOut: true });
    expect(rulesOf(xml)).toEqual([]);
    expect(referencesOf(xml)).toEqual(["clean-traffic"]);
  });
});
