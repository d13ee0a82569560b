import { z } from "zod";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { canonicalSubnet } from "./network-xml.ts";

/** What may pass; whatever no rule names may not come in. Where no rule of an instance's groups is for "out", everything may go out. */
export interface SecurityRule {
  /** As the guest sees it. */
  direction: "in" | "out";
  protocol: "tcp" | "udp" | "icmp" | "all";
  /** Of the one that is called: "22" or "8000-9000"; null: all. TCP and UDP only. */
  ports: { first: number; last: number } | null;
  /** The other side, in CIDR; null: anybody, IPv4 and IPv6. */
  cidr: string | null;
}

/** By the names that instances use. */
export type SecurityGroupRules = ReadonlyMap<string, readonly SecurityRule[]>;

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/;
const PORTS = /^(\d{1,5})(?:-(\d{1,5}))?$/;
const MAX_GROUPS = 1000;
const MAX_RULES = 200;

const ports = z.union([z.string(), z.number().transform(String)]).transform((text, context) => {
  const [, first, last = first] = PORTS.exec(text) ?? [];
  const range = { first: Number(first), last: Number(last) };
  if (range.first >= 1 && range.first <= range.last && range.last <= 65_535) return range;
  context.addIssue({ code: "custom", message: `${JSON.stringify(text)} is no port or range of ports, such as 22 or 8000-9000` });
  return z.NEVER;
});

const cidr = z.string().transform((text, context) => {
  const subnet = canonicalSubnet(text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`);
  if (subnet !== null) return subnet;
  context.addIssue({ code: "custom", message: `${JSON.stringify(text)} is no subnet, such as 10.0.0.0/8` });
  return z.NEVER;
});

const rule = z
  .strictObject({
    direction: z.enum(["in", "out"]).default("in"),
    protocol: z.enum(["tcp", "udp", "icmp", "all"]),
    ports: ports.nullish().transform((value) => value ?? null),
    cidr: cidr.nullish().transform((value) => value ?? null),
  })
  .refine(({ protocol, ports }) => ports === null || protocol === "tcp" || protocol === "udp", "only tcp and udp have ports");

const groups = z.record(
  z.string().regex(NAME, "a group's name is 1 to 63 letters, digits, '-', '_' and '.'"),
  z.array(rule).max(MAX_RULES),
);

/** From a configuration file's content, group name → rules. INVALID_ARGUMENT that says where it is wrong. */
export function parseSecurityGroups(value: unknown): SecurityGroupRules {
  const result = groups.safeParse(value ?? {});
  if (!result.success) {
    const [issue] = result.error.issues;
    const place = issue?.path.map(String).join(".") ?? "";
    throw new FleetError("INVALID_ARGUMENT", `The security groups are not as they should be: ${place}: ${issue?.message ?? ""}.`, {
      reason: "SecurityGroupsInvalid",
      details: { field: place },
    });
  }
  const parsed = new Map(Object.entries(result.data));
  if (parsed.size > MAX_GROUPS) throw new FleetError("INVALID_ARGUMENT", `More than ${MAX_GROUPS} security groups are configured.`);
  return parsed;
}
