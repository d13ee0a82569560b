import { describe, expect, test } from "vitest";
import { FleetError, invalidArgument } from "../../../platform/errors/fleet-error.ts";
import { allocatableOf } from "../../../subgraphs/clusters/services/allocatable.ts";
import { availabilityOf, statesOf } from "../../../subgraphs/clusters/services/availability.ts";
import {
  checkConditions,
  checkFilter,
  checkHeartbeat,
  checkPatch,
  checkRegistration,
  type RawRegistration,
} from "../../../subgraphs/clusters/services/node-input.ts";
import { NODE_STATUSES } from "../../../subgraphs/clusters/services/node-types.ts";
import { inMessageFields } from "../../../subgraphs/kit/grpc/field-names.ts";

const good: RawRegistration = {
  hostname: "compute-node-1",
  ip: "192.168.1.100",
  port: 50052,
  role: "WORKER",
  capacity: { cpuCores: 16, memoryBytes: 68719476736, diskBytes: 536870912000 },
  supportedInstanceTypes: ["vm", "container"],
};

function refusedField(check: () => unknown): string {
  try {
    check();
  } catch (error) {
    if (error instanceof FleetError && error.code === "INVALID_ARGUMENT") return String(error.details.field);
    throw error;
  }
  return "accepted";
}

const registrations: Array<[what: string, field: string, bad: Partial<RawRegistration>]> = [
  ["an empty hostname", "hostname", { hostname: "" }],
  ["a hostname with an underscore", "hostname", { hostname: "a_b" }],
  ["a hostname that begins with a hyphen", "hostname", { hostname: "-a" }],
  ["a hostname with an empty label", "hostname", { hostname: "a..b" }],
  ["a hostname with a label of 64 characters", "hostname", { hostname: "a".repeat(64) }],
  ["a hostname of 254 characters", "hostname", { hostname: `${"a.".repeat(126)}aa` }],
  ["no address", "ip", { ip: "" }],
  ["a bad IPv4 address", "ip", { ip: "192.168.1.256" }],
  ["a host name as address", "ip", { ip: "localhost" }],
  ["port 0", "port", { port: 0 }],
  ["port 65536", "port", { port: 65_536 }],
  ["no role", "role", { role: null }],
  ["an unknown role", "role", { role: "UNRECOGNIZED" }],
  ["an unknown kind", "kind", { kind: "UNRECOGNIZED" }],
  ["no capacity", "capacity", { capacity: null }],
  ["negative cores", "capacity.cpuCores", { capacity: { cpuCores: -1, memoryBytes: 1 } }],
  ["negative memory", "capacity.memoryBytes", { capacity: { cpuCores: 1, memoryBytes: -1 } }],
  ["a negative disk", "capacity.diskBytes", { capacity: { cpuCores: 1, memoryBytes: 1, diskBytes: -1 } }],
  ["negative GPUs", "capacity.gpuCount", { capacity: { cpuCores: 1, memoryBytes: 1, gpuCount: -1 } }],
  ["an unknown instance type", "supportedInstanceTypes", { supportedInstanceTypes: ["vm", "zone"] }],
  ["a control character in the region", "region", { region: "a\nb" }],
  ["an empty label key", "labels", { labels: { "": "x" } }],
  ["labels beyond 16 KiB", "labels", { labels: { a: "x".repeat(20_000) } }],
  ["101 annotations", "annotations", { annotations: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`k${i}`, ""])) }],
  ["a long request id", "clientRequestId", { clientRequestId: "x".repeat(129) }],
];

describe("a registration", () => {
  test.each(registrations)("is refused for %s, naming %s", (_what, field, bad) => {
    expect(refusedField(() => checkRegistration({ ...good, ...bad }))).toBe(field);
  });

  test("is taken in lower case, with defaults", () => {
    expect(checkRegistration({ ...good, hostname: "Compute-Node-1.Example", ip: "fe80::1" })).toMatchObject({
      hostname: "compute-node-1.example",
      ip: "fe80::1",
      kind: "COMPUTE",
      region: null,
      capacity: { gpuCount: 0 },
      simulated: false,
    });
  });
});

describe("a heartbeat", () => {
  test("is refused without a node id, without a status, with bad conditions or a negative allocation", () => {
    expect(refusedField(() => checkHeartbeat({ nodeId: "", status: "READY" }))).toBe("nodeId");
    expect(refusedField(() => checkHeartbeat({ nodeId: "n", status: null }))).toBe("status");
    expect(refusedField(() => checkHeartbeat({ nodeId: "n", status: "READY", conditions: [{ type: "Ready", status: "true" }] }))).toBe(
      "conditions[0].status",
    );
    expect(refusedField(() => checkHeartbeat({ nodeId: "n", status: "READY", allocated: { cpuCores: -1, memoryBytes: 0 } }))).toBe(
      "allocated.cpuCores",
    );
  });
});

describe("conditions", () => {
  test("name the entry that is wrong", () => {
    const first = { type: "Ready", status: "True" };
    expect(refusedField(() => checkConditions([first, { type: "two words", status: "True" }]))).toBe("conditions[1].type");
    expect(refusedField(() => checkConditions([first, first]))).toBe("conditions[1].type");
    expect(refusedField(() => checkConditions(Array.from({ length: 33 }, (_, i) => ({ type: `C${i}`, status: "True" }))))).toBe(
      "conditions",
    );
  });
});

describe("a filter", () => {
  test("that holds null is no filter; an unknown name is refused", () => {
    expect(checkFilter({ role: null, name: null })).toEqual(checkFilter(null));
    expect(refusedField(() => checkFilter({ role: "UNRECOGNIZED" }))).toBe("filter.role");
  });
});

describe("a patch", () => {
  test("keeps what is left out apart from what is cleared", () => {
    expect(checkPatch({ region: null, labels: { a: "b" } })).toEqual({ region: null, labels: { a: "b" } });
    expect(checkPatch({})).toEqual({});
    expect(checkPatch({ labels: null })).toEqual({ labels: {} });
  });
});

describe("the gRPC face", () => {
  const field = (name: string, names?: Record<string, string>) =>
    (inMessageFields(invalidArgument(name, "no"), names) as FleetError).details.field;

  test("names the same fields its own way", () => {
    expect(field("capacity.memoryBytes")).toBe("capacity.memory_bytes");
    expect(field("filter.region")).toBe("region");
    expect(field("nodeId")).toBe("node_id");
    expect(field("conditions[1].lastSeen")).toBe("conditions[1].last_seen");
    expect(field("first", { first: "page_size" })).toBe("page_size");
  });
});

describe("availability", () => {
  test("is the same rule for a node and for a query", () => {
    for (const status of NODE_STATUSES) {
      for (const maintenance of [true, false]) {
        const availability = availabilityOf(status, maintenance);
        const states = statesOf(availability);
        expect(states.maintenance).toBe(maintenance);
        expect(states.statuses).toContain(status);
      }
    }
    expect(availabilityOf("READY", false)).toBe("ONLINE");
    expect(availabilityOf("UNKNOWN", false)).toBe("OFFLINE");
    expect(availabilityOf("READY", true)).toBe("MAINTENANCE");
  });
});

describe("allocatable", () => {
  test("is capacity × overcommit − reserve, in whole numbers, never below 0", () => {
    const reserve = { cpuCores: 1, memoryBytes: 100, diskBytes: 10, gpuCount: 0 };
    const policy = { cpuOvercommit: 4, memoryOvercommit: 1.5, reserve };
    expect(allocatableOf({ cpuCores: 2, memoryBytes: 101, diskBytes: 5, gpuCount: 3 }, policy)).toEqual({
      cpuCores: 7,
      memoryBytes: 51,
      diskBytes: 0,
      gpuCount: 3,
    });
  });
});
