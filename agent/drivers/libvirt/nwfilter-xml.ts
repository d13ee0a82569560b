import type { SecurityRule } from "./security-group-rules.ts";
import { attribute, buildXml, elements, parseXml, type XmlTree } from "./xml.ts";

/** nwfilter takes rules by their priority, across all filters of an interface: the lowest first. */
const PRIORITY = { always: 400, group: 500, otherwiseOut: 900, drop: 1000 };
/** Without them IPv6 finds no neighbours: router and neighbour solicitation and advertisement. */
const NEIGHBOUR_DISCOVERY = [133, 134, 135, 136];

/** The filter of a configured group. */
export function groupFilterXml(name: string, uuid: string | null, rules: readonly SecurityRule[]): string {
  return buildXml({ filter: { "@name": name, "@chain": "root", uuid, rule: rules.flatMap(groupRules) } });
}

export interface InstanceFilter {
  /** The names of the filters that it is made of. */
  references: readonly string[];
  /** Whether what none of them accepts may not pass. */
  dropsTheRest: boolean;
  /** Whether what goes out passes if no rule is against it. */
  allowsOut: boolean;
}

/** The filter in front of an instance's interfaces. */
export function instanceFilterXml(name: string, uuid: string | null, filter: InstanceFilter): string {
  return buildXml({
    filter: {
      "@name": name,
      "@chain": "root",
      uuid,
      filterref: filter.references.map((reference) => ({ "@filter": reference })),
      rule: filter.dropsTheRest ? frame(filter.allowsOut) : [],
    },
  });
}

/** The names of the filters that a filter refers to. */
export function referencesOf(xml: string): string[] {
  return elements(parseXml(xml, "filter"), "filterref").map((reference) => attribute(reference, "filter"));
}

function frame(allowsOut: boolean): XmlTree[] {
  const always = (content: XmlTree, direction: string) => rule("accept", direction, PRIORITY.always, content);
  return [
    // How a guest gets its address.
    always({ udp: { "@srcportstart": 68, "@dstportstart": 67 } }, "out"),
    ...NEIGHBOUR_DISCOVERY.map((type) => always({ icmpv6: { "@type": type } }, "inout")),
    ...(allowsOut ? both("accept", "out", PRIORITY.otherwiseOut) : []),
    ...both("drop", "inout", PRIORITY.drop),
  ];
}

function both(action: string, direction: string, priority: number): XmlTree[] {
  return [rule(action, direction, priority, { all: true }), rule(action, direction, priority, { "all-ipv6": true })];
}

/** One for each family that it is about. */
function groupRules({ direction, protocol, ports, cidr }: SecurityRule): XmlTree[] {
  const isV6 = cidr?.includes(":") ?? null;
  const families = [...(isV6 === true ? [] : ["4"]), ...(isV6 === false ? [] : ["6"])];
  const [address, mask] = cidr?.split("/") ?? [null, null];
  const side = direction === "in" ? "src" : "dst";
  return families.map((family) =>
    rule("accept", direction, PRIORITY.group, {
      [elementOf(protocol, family)]: {
        [`@${side}ipaddr`]: address,
        [`@${side}ipmask`]: mask,
        "@dstportstart": ports?.first,
        "@dstportend": ports?.last,
      },
    }),
  );
}

function elementOf(protocol: SecurityRule["protocol"], family: string): string {
  if (family === "4") return protocol;
  return protocol === "icmp" ? "icmpv6" : `${protocol}-ipv6`;
}

function rule(action: string, direction: string, priority: number, content: XmlTree): XmlTree {
  return { "@action": action, "@direction": direction, "@priority": priority, ...content };
}
