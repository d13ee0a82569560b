import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeFleet } from "../support/compute-fleet.ts";
import type { FleetHost } from "../support/fleet-host.ts";
import { describeWithPeers } from "../support/peers.ts";
import { RealJournal } from "../support/real-journal.ts";
import { until } from "../support/until.ts";

const run = promisify(execFile);
const START = Date.parse("2026-01-01T00:00:00Z");

const EVERYTHING = `query ($id: ID!) { node(id: $id) {
  hostname connection { state }
  hardware { cpu { model vendor architecture sockets physicalCores threads threadsPerCore } memory { totalBytes }
    numa { id cpus } vulnerabilities { name status vulnerable } }
  host { bootId kernel operatingSystem }
  pciDevices { address classId vendorId deviceId driver iommuGroup }
  usbControllers { driver } usbDevices { vendorId productId }
  network { nics { ...interface } bridges { ...interface } others { ...interface } }
  disks { name sizeBytes rotational removable readOnly partitions { name sizeBytes } }
  inventoryStatus { part observedAt unavailable { field reason } } } }
  fragment interface on NodeNetworkInterface { name index mac mtu state addresses { address prefixLength } }`;
const CHANGES = `subscription ($after: String, $snapshot: Boolean) { nodeHardwareEvents(after: $after, snapshot: $snapshot) {
  type cursor timestamp nodeHardwareChange { part id kind networkInterface { name state } } } }`;

/** What a program of this machine says in JSON, in the host's network namespace. */
// biome-ignore lint/suspicious/noExplicitAny: as the program writes it
async function json(prefix: readonly string[], ...command: string[]): Promise<any> {
  const [program = "", ...args] = [...prefix, ...command];
  return JSON.parse((await run(program, args)).stdout);
}

describeWithPeers("a host's hardware and logs, through the gateway", ["network-namespaces", "udevadm", "journal-remote"], () => {
  let fleet: ComputeFleet;
  let host: FleetHost;
  let journal: RealJournal;
  let enter: string[];

  beforeAll(async () => {
    const line = (number: number) => ({
      ...{ message: `line ${number}`, at: START + number * 1000, priority: number % 8 },
      unit: number % 2 === 0 ? "libvirtd.service" : "ssh.service",
    });
    journal = await RealJournal.make(Array.from({ length: 500 }, (_, number) => line(number)));
    fleet = await ComputeFleet.start({
      hosts: [{ libvirt: false, containers: false }],
      agentSettings: () => ({ journalDir: journal.directory }),
    });
    host = fleet.hosts[0] as FleetHost;
    enter = host.host.namespace.prefix;
  }, 120_000);

  afterAll(async () => {
    await fleet?.stop();
    await journal?.[Symbol.asyncDispose]();
  });

  test("one query has what lscpu, lspci, ip and lsblk say of this machine", async () => {
    await until(
      async () =>
        (await fleet.query(EVERYTHING, { id: host.nodeId })).node.inventoryStatus.every(
          ({ observedAt }: { observedAt: string | null }) => observedAt,
        ),
      "all parts",
    );
    const { node } = await fleet.query(EVERYTHING, { id: host.nodeId });
    expect(node).toMatchObject({ hostname: "host-1", connection: { state: "CONNECTED" } });

    const { lscpu } = await json([], "lscpu", "-J");
    const flat = (rows: Array<{ field: string; data: string; children?: [] }>): Array<[string, string]> =>
      rows.flatMap(({ field, data, children = [] }) => [[field, data] as [string, string], ...flat(children)]);
    const said = new Map(flat(lscpu));
    expect(node.hardware.cpu).toMatchObject({
      architecture: said.get("Architecture:"),
      vendor: said.get("Vendor ID:"),
      model: said.get("Model name:"),
      sockets: Number(said.get("Socket(s):")),
      threads: Number(said.get("CPU(s):")),
      threadsPerCore: Number(said.get("Thread(s) per core:")),
    });

    const lspci = (await run("lspci", ["-D", "-n"])).stdout
      .trim()
      .split("\n")
      .map((line) => line.split(" ").slice(0, 3).join(" "));
    const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
    const pci = node.pciDevices.map(
      ({ address, classId, vendorId, deviceId }: { address: string; classId: number; vendorId: number; deviceId: number }) =>
        `${address} ${hex(classId >> 8, 4)}: ${hex(vendorId, 4)}:${hex(deviceId, 4)}`,
    );
    expect(pci).toEqual(lspci);

    const links = await json(enter, "ip", "-j", "address");
    const named = ({ ifname, ifindex, address, mtu, operstate, addr_info: own }: Record<string, unknown>) => ({
      ...{ name: ifname, index: ifindex, mac: address, mtu, state: operstate },
      addresses: (own as Array<{ local: string; prefixlen: number }>).map(({ local, prefixlen }) => ({
        address: local,
        prefixLength: prefixlen,
      })),
    });
    const { nics, bridges, others } = node.network;
    const byIndex = (a: { index: number }, b: { index: number }) => a.index - b.index;
    expect([...nics, ...bridges, ...others].sort(byIndex)).toEqual(links.map(named));

    const { blockdevices } = await json([], "lsblk", "-J", "-b", "-o", "NAME,SIZE,TYPE,ROTA,RM,RO");
    const disks = blockdevices.filter(({ type, name }: Record<string, string>) => type === "disk" && !/^(?:zram|ram|nbd)/.test(name ?? ""));
    expect(node.disks.map(({ partitions: _, ...disk }: Record<string, unknown>) => disk)).toEqual(
      disks.map(({ name, size, rota, rm, ro }: Record<string, unknown>) => ({
        ...{ name, sizeBytes: size, rotational: rota, removable: rm, readOnly: ro },
      })),
    );
  }, 60_000);

  test("an interface that comes, goes up and goes away is told to who watches", async () => {
    const watch = fleet.watch(CHANGES, "nodeHardwareEvents");
    const change = ({ nodeHardwareChange: it }: Record<string, unknown>) => it as { id: string; kind: string } | null;
    await watch.until((events) => events.some(({ type }) => type === "BOOKMARK"), 20_000);
    const ip = (...args: string[]) => run("ip", ["-n", host.host.namespace.name, ...args]);
    const kinds = () => watch.events.flatMap((event) => (change(event)?.id === "live0" ? [change(event)?.kind] : []));
    await ip("link", "add", "live0", "type", "veth", "peer", "name", "live1");
    await watch.until(() => kinds().includes("DEVICE_ADDED"), 20_000);
    await ip("link", "set", "live1", "up");
    await ip("link", "set", "live0", "up");
    await watch.until(() => kinds().includes("LINK_UP"), 20_000);
    await ip("link", "set", "live1", "down");
    await watch.until(() => kinds().includes("LINK_DOWN"), 20_000);
    await ip("link", "delete", "live0");
    await watch.until(() => kinds().includes("DEVICE_REMOVED"), 20_000);
  }, 90_000);

  test("traffic is counted, with rates", async () => {
    const query = `subscription ($id: ID!) { nodeTraffic(nodeId: $id, intervalSeconds: 1) { interfaces { name rxBytes rxBytesPerSecond } } }`;
    const samples: Array<{ rxBytes: number; rxBytesPerSecond: number | null }> = [];
    for await (const { nodeTraffic } of fleet.stream(query, { id: host.nodeId })) {
      const link = nodeTraffic.interfaces.find(({ name }: { name: string }) => name !== "lo");
      samples.push(link);
      // The agent's own heartbeats go over it.
      if (samples.length === 3) break;
    }
    expect(samples[0]?.rxBytesPerSecond).toBeNull();
    expect(samples[2]?.rxBytesPerSecond).toBeGreaterThanOrEqual(0);
    expect(samples[2]?.rxBytes).toBeGreaterThanOrEqual(samples[0]?.rxBytes ?? Number.POSITIVE_INFINITY);
  }, 60_000);

  test("logs are filtered, paged both ways, and followed", async () => {
    const page = `query ($id: ID!, $filter: NodeLogFilter, $last: Int, $before: String, $first: Int, $after: String) { node(id: $id) {
      logs(filter: $filter, last: $last, before: $before, first: $first, after: $after) { nodes { message priority unit }
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } } }`;
    const filter = { service: "libvirtd", priority: "WARNING" };
    const read = async (args: Record<string, unknown>) => (await fleet.query(page, { id: host.nodeId, filter, ...args })).node.logs;
    const expected = Array.from({ length: 500 }, (_, n) => n).filter((n) => n % 2 === 0 && n % 8 <= 4);
    const newest = await read({ last: 100 });
    const older = await read({ last: 100, before: newest.pageInfo.startCursor });
    const messages = [...older.nodes, ...newest.nodes].map(({ message }: { message: string }) => Number(message.slice(5)));
    expect(messages).toEqual(expected);
    expect(older.pageInfo.hasPreviousPage).toBe(false);
    expect(newest.nodes.at(-1)).toEqual({ message: `line ${expected.at(-1)}`, priority: "CRITICAL", unit: "libvirtd.service" });

    const follow = `subscription ($id: ID!, $after: String) { nodeLogs(nodeId: $id, after: $after) { cursor entries { message } } }`;
    const seen: string[] = [];
    for await (const { nodeLogs } of fleet.stream(follow, { id: host.nodeId, after: newest.pageInfo.endCursor })) {
      for (const { message } of nodeLogs.entries) seen.push(message);
      if (seen.includes("line 499") && !seen.includes("written")) await journal.write([{ message: "written", at: START + 1_000_000 }]);
      if (seen.includes("written")) break;
    }
    expect(seen).toEqual(["line 499", "written"]);
  }, 60_000);
});
