import { expect, test } from "vitest";
import { EVENT_GROUPS, EVENTS } from "../../../../agent/libvirt/protocol/event-table.ts";
import { PROCEDURES, type ProcedureName, procedureNamed } from "../../../../agent/libvirt/protocol/table.ts";
import { XdrReader, XdrWriter } from "../../../../agent/libvirt/protocol/xdr.ts";
import { DOMAIN_EVENT_DETAILS, DOMAIN_STATE_REASONS, DOMAIN_STATES } from "../../../../agent/libvirt/values.ts";

const NAMES = Object.keys(PROCEDURES) as ProcedureName[];

test("every procedure of a program has a number of its own", () => {
  const numbers = NAMES.map((name) => `${procedureNamed(name).program} ${procedureNamed(name).number}`);
  expect(new Set(numbers).size).toBe(numbers.length);
});

test("every event has numbers of its own, which no procedure has", () => {
  const calls = new Set(NAMES.filter((name) => procedureNamed(name).program === "remote").map((name) => procedureNamed(name).number));
  const events = Object.values(EVENTS);
  expect(new Set(events.map(({ number }) => number)).size).toBe(events.length);
  expect(new Set(events.map(({ group, eventId }) => `${group} ${eventId}`)).size).toBe(events.length);
  expect(events.filter(({ number }) => calls.has(number))).toEqual([]);
});

test("names are libvirt's in lower camel case", () => {
  expect([...NAMES, ...Object.keys(EVENTS)].filter((name) => !/^[a-z]+([A-Z][a-z]*\d?)+$/.test(name) || /REMOTE|Proc/.test(name))).toEqual(
    [],
  );
});

test("what libvirt answers before it asks a hypervisor has high priority, and what changes guests has not", () => {
  expect(procedureNamed("connectListAllDomains").priority).toBe("high");
  expect(procedureNamed("domainCreateWithFlags").priority).toBe("low");
  for (const { register, deregister } of Object.values(EVENT_GROUPS)) {
    expect([procedureNamed(register).priority, procedureNamed(deregister).priority]).toEqual(["high", "high"]);
  }
});

test("a result that is written is read again as it was", () => {
  const results: [ProcedureName, unknown][] = [
    ["connectListAllDomains", { domains: [{ name: "a", uuid: "6695eb01-f6a4-8304-79aa-97f2502e193f", id: 3 }], ret: 1 }],
    ["domainGetInfo", { state: 1, maxMem: 2 ** 40, memory: 5, nrVirtCpu: 2, cpuTime: Number.MAX_SAFE_INTEGER }],
    ["nodeGetInfo", { model: "x86_64", memory: 1, cpus: 2, mhz: 3, nodes: 4, sockets: 5, cores: 6, threads: 7 }],
    ["domainInterfaceAddresses", { ifaces: [{ name: "vnet0", hwaddr: null, addrs: [{ type: 0, addr: "10.0.0.2", prefix: 24 }] }] }],
    ["domainQemuAgentCommand", { result: null }],
    ["domainMigratePerform3Params", { cookieOut: new Uint8Array([1, 2, 3]) }],
  ];
  for (const [name, result] of results) {
    const writer = new XdrWriter();
    procedureNamed(name).result.write(writer, result);
    const reader = new XdrReader(writer.bytes);
    expect(procedureNamed(name).result.read(reader)).toEqual(result);
    reader.end();
  }
});

test("every state has reasons, and every event its details", () => {
  expect(Object.keys(DOMAIN_STATE_REASONS)).toEqual([...DOMAIN_STATES]);
  expect(Object.values(DOMAIN_STATE_REASONS).every((reasons) => reasons[0] === "UNKNOWN")).toBe(true);
  expect(Object.keys(DOMAIN_EVENT_DETAILS).length).toBe(10);
});
