import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import { LibvirtError } from "../../../../agent/libvirt/errors.ts";
import { AFFECT, DOMAIN_STATES, METADATA } from "../../../../agent/libvirt/values.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { LibvirtDaemon } from "../../../support/libvirt-daemon.ts";
import { describeWithPeers } from "../../../support/peers.ts";

const log = createLogger({ name: "libvirt", level: "silent" });
const run = promisify(execFile);

describeWithPeers("calls to libvirt's test driver", "libvirt", () => {
  let daemon: LibvirtDaemon;
  let client: LibvirtClient;
  beforeAll(async () => {
    daemon = await LibvirtDaemon.start();
    client = LibvirtClient.open({ uri: daemon.uri("test:///default"), log });
  });
  afterAll(async () => {
    await client?.close();
    await daemon?.close();
  });

  /** What libvirt's own client prints. */
  async function virsh(...args: string[]): Promise<string> {
    return (await run("virsh", ["-q", "-c", daemon.uri("test:///default"), ...args])).stdout.trim();
  }

  const theDomain = async () => (await client.call("domainLookupByName", { name: "test" })).dom;

  test("list what is there", async () => {
    const { domains } = await client.call("connectListAllDomains", {});
    expect(domains).toEqual([{ name: "test", uuid: await virsh("domuuid", "test"), id: 1 }]);
    expect((await client.call("connectListAllNetworks", {})).nets.map(({ name }) => name)).toEqual(["default"]);
    expect((await client.call("connectListAllStoragePools", {})).pools.map(({ name }) => name)).toEqual(["default-pool"]);
    expect((await client.call("connectListAllNodeDevices", {})).devices.length).toBeGreaterThan(0);
    expect((await client.call("connectListAllDomains", { needResults: false })).domains).toEqual([]);
  });

  test("say the same as virsh about the host", async () => {
    expect(await client.call("connectGetUri", {})).toEqual({ uri: "test:///default" });
    expect((await client.call("connectGetHostname", {})).hostname).toBe(await virsh("hostname"));
    expect((await client.call("connectGetCapabilities", {})).capabilities.trim()).toBe(await virsh("capabilities"));
    const node = await client.call("nodeGetInfo", {});
    const printed = Object.fromEntries((await virsh("nodeinfo")).split("\n").map((line) => line.split(/:\s+/)));
    expect({
      "CPU model": node.model,
      "CPU(s)": String(node.cpus),
      "CPU frequency": `${node.mhz} MHz`,
      "CPU socket(s)": String(node.sockets),
      "Core(s) per socket": String(node.cores),
      "Thread(s) per core": String(node.threads),
      "NUMA cell(s)": String(node.nodes),
      "Memory size": `${node.memory} KiB`,
    }).toEqual(printed);
    const { libVer } = await client.call("connectGetLibVersion", {});
    expect(await virsh("version", "--daemon")).toContain(
      `Running against daemon: ${Math.floor(libVer / 1e6)}.${Math.floor((libVer % 1e6) / 1000)}.${libVer % 1000}`,
    );
  });

  test("say the same as virsh about a domain", async () => {
    const dom = await theDomain();
    expect((await client.call("domainGetXmlDesc", { dom })).xml.trim()).toBe(await virsh("dumpxml", "test"));
    const { state } = await client.call("domainGetState", { dom });
    expect(DOMAIN_STATES[state]?.toLowerCase()).toBe(await virsh("domstate", "test"));
    const info = await client.call("domainGetInfo", { dom });
    const printed = await virsh("dominfo", "test");
    expect(printed).toMatch(new RegExp(`CPU\\(s\\): +${info.nrVirtCpu}\n`));
    expect(printed).toMatch(new RegExp(`Max memory: +${info.maxMem} KiB`));
    expect(printed).toMatch(new RegExp(`Used memory: +${info.memory} KiB`));
    const { retStats } = await client.call("connectGetAllDomainStats", { doms: [], stats: 0 });
    const lines = Object.entries(retStats[0]!.params).map(([name, value]) => `${name}=${value}`);
    expect(
      (await virsh("domstats", "test"))
        .split("\n")
        .slice(1)
        .map((line) => line.trim()),
    ).toEqual(lines);
    expect((await client.call("domainGetAutostart", { dom })).autostart).toBe(/Autostart: +enable/.test(printed));
  });

  test("say the same as virsh about networks, pools and volumes", async () => {
    const { net } = await client.call("networkLookupByName", { name: "default" });
    expect((await client.call("networkGetXmlDesc", { net })).xml.trim()).toBe(await virsh("net-dumpxml", "default"));
    expect(await client.call("networkIsActive", { net })).toEqual({ active: true });

    const { pool } = await client.call("storagePoolLookupByName", { name: "default-pool" });
    const info = await client.call("storagePoolGetInfo", { pool });
    const printed = await virsh("pool-info", "--bytes", "default-pool");
    for (const [name, bytes] of [
      ["Capacity", info.capacity],
      ["Allocation", info.allocation],
      ["Available", info.available],
    ] as const) {
      expect(printed).toMatch(new RegExp(`${name}: +${bytes}$`, "m"));
    }
    const xml = "<volume><name>disk.raw</name><capacity unit='bytes'>5000000000</capacity><allocation>0</allocation></volume>";
    const { vol } = await client.call("storageVolCreateXml", { pool, xml });
    expect((await client.call("storagePoolListAllVolumes", { pool })).vols).toEqual([vol]);
    expect((await client.call("storageVolGetInfo", { vol })).capacity).toBe(5_000_000_000);
    expect((await client.call("storageVolGetPath", { vol })).name).toBe(await virsh("vol-path", "disk.raw", "--pool", "default-pool"));
    await client.call("storageVolDelete", { vol });
    expect((await client.call("storagePoolListAllVolumes", { pool })).vols).toEqual([]);
  });

  test("change what virsh then sees", async () => {
    const dom = await theDomain();
    const uri = "https://fleetgraph.dev/instance";
    const metadata = "<instance generation='1'>näme &amp; more</instance>";
    await client.call("domainSetMetadata", { dom, type: METADATA.ELEMENT, metadata, key: "fg", uri, flags: AFFECT.CONFIG | AFFECT.LIVE });
    expect(await virsh("dumpxml", "test")).toContain("näme &amp; more");
    expect((await client.call("domainGetMetadata", { dom, type: METADATA.ELEMENT, uri })).metadata).toContain("näme &amp; more");

    await client.call("domainSetMemoryFlags", { dom, memory: 1_048_576, flags: AFFECT.LIVE });
    expect(await virsh("dominfo", "test")).toMatch(/Used memory: +1048576 KiB/);

    const { snap } = await client.call("domainSnapshotCreateXml", { dom, xmlDesc: "<domainsnapshot><name>before</name></domainsnapshot>" });
    expect(snap).toEqual({ name: "before", dom });
    expect(await virsh("snapshot-list", "test", "--name")).toBe("before");
    expect((await client.call("domainListAllSnapshots", { dom })).snapshots).toEqual([snap]);
    await client.call("domainSnapshotDelete", { snap });
    expect((await client.call("domainListAllSnapshots", { dom })).snapshots).toEqual([]);
  });

  test("fail with libvirt's code and the part of libvirt that it comes from", async () => {
    const failed = await client.call("domainLookupByName", { name: "nobody" }).catch((error: unknown) => error);
    expect(LibvirtError.isCode(failed, "NO_DOMAIN")).toBe(true);
    expect(LibvirtError.isCode(failed, "NO_NETWORK", "NO_STORAGE_POOL")).toBe(false);
    expect(failed).toMatchObject({ code: 42, codeName: "NO_DOMAIN", domain: 12, domainName: "TEST", procedure: "domainLookupByName" });
    await expect(client.call("networkLookupByName", { name: "nobody" })).rejects.toMatchObject({ codeName: "NO_NETWORK" });
    await expect(client.call("storagePoolLookupByName", { name: "nobody" })).rejects.toMatchObject({ codeName: "NO_STORAGE_POOL" });
    await expect(client.call("domainDefineXmlFlags", { xml: "<domain>" })).rejects.toMatchObject({ codeName: "XML_DETAIL" });
    const again = "<domain type='test'><name>test</name><memory>1024</memory><os><type>hvm</type></os></domain>";
    await expect(client.call("domainDefineXmlFlags", { xml: again })).rejects.toMatchObject({ codeName: "OPERATION_FAILED" });
    // The test driver's domains have no guest agent, and no QEMU.
    await expect(client.call("domainQemuAgentCommand", { dom: await theDomain(), cmd: "{}", timeout: 1 })).rejects.toMatchObject({
      codeName: "NO_SUPPORT",
    });
  });

  test("fail before they are sent, when libvirt cannot be told what they say", async () => {
    await expect(client.call("domainLookupByUuid", { uuid: "test" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(client.call("domainLookupByName", { name: "a\0b" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(client.connected).toBe(true);
  });

  test("are made a thousand at a time, and each gets its own answer", async () => {
    const names = Array.from({ length: 500 }, (_unused, index) => `nobody-${index}`);
    const [found, missing] = await Promise.all([
      Promise.all(names.map(() => client.call("domainLookupByName", { name: "test" }))),
      Promise.all(names.map((name) => client.call("domainLookupByName", { name }).catch((error: Error) => error.message))),
    ]);
    expect(found.every(({ dom }) => dom.name === "test")).toBe(true);
    expect(missing).toHaveLength(500);
    expect(missing.every((message) => String(message).includes("Domain not found"))).toBe(true);
  });

  test("carry a message of megabytes", async () => {
    const description = "x".repeat(3_000_000);
    const xml = `<domain type='test'><name>large</name><description>${description}</description><memory>1024</memory><os><type>hvm</type></os></domain>`;
    const { dom } = await client.call("domainDefineXmlFlags", { xml });
    expect((await client.call("domainGetXmlDesc", { dom })).xml).toContain(description);
    await client.call("domainUndefineFlags", { dom });
  });
});

describeWithPeers("a libvirt daemon", "libvirt", () => {
  test("serves the test driver's hosts from files, each apart from the others", async () => {
    const daemon = await LibvirtDaemon.start();
    const clients: LibvirtClient[] = [];
    try {
      for (const name of ["one", "two"]) {
        const file = await daemon.writeFile(
          `${name}.xml`,
          `<node><domain type='test'><name>${name}</name><memory>1024</memory><os><type>hvm</type></os></domain></node>`,
        );
        clients.push(LibvirtClient.open({ uri: daemon.uri(`test://${file}`), log }));
      }
      const lists = await Promise.all(clients.map((client) => client.call("connectListAllDomains", {})));
      expect(lists.map(({ domains }) => domains.map(({ name }) => name))).toEqual([["one"], ["two"]]);
    } finally {
      await Promise.all(clients.map((client) => client.close()));
      await daemon.close();
    }
  });

  test("has the domains of a file where the URI names one", async () => {
    const daemon = await LibvirtDaemon.start();
    const file = join(daemon.directory, "node.xml");
    const domain = "<domain type='test'><name>from-a-file</name><memory>1024</memory><os><type>hvm</type></os></domain>";
    await writeFile(file, `<node>${domain}</node>`);
    const client = LibvirtClient.open({ uri: daemon.uri(`test://${file}`), log });
    try {
      const { domains } = await client.call("connectListAllDomains", { needResults: true });
      expect(domains.map(({ name }) => name)).toEqual(["from-a-file"]);
    } finally {
      await client.close();
      await daemon.close();
    }
  });

  test("that refuses a hypervisor is an error that says so, and is asked again", async () => {
    const daemon = await LibvirtDaemon.start();
    const client = LibvirtClient.open({ uri: daemon.uri("test:///no/such/file.xml"), log });
    try {
      await expect(client.call("connectListAllDomains", {}, { timeoutMs: 1500 })).rejects.toMatchObject({
        code: "UNAVAILABLE",
        message: expect.stringContaining("no/such/file.xml"),
        cause: { name: "LibvirtError" },
      });
      expect(client.connected).toBe(false);
      expect(client.lastError).toBeInstanceOf(LibvirtError);
    } finally {
      await client.close();
      await daemon.close();
    }
  });

  test("that wants SASL is an error that says what to do", async () => {
    const daemon = await LibvirtDaemon.start({ settings: { auth_unix_rw: "sasl" } });
    const client = LibvirtClient.open({ uri: daemon.uri("test:///default"), log });
    try {
      await expect(client.call("connectListAllDomains", {}, { timeoutMs: 1500 })).rejects.toMatchObject({
        code: "UNAVAILABLE",
        message: expect.stringContaining("auth_unix_rw"),
      });
    } finally {
      await client.close();
      await daemon.close();
    }
  });

  test("that is not there is an error that says so, as soon as the call's deadline passes", async () => {
    const client = LibvirtClient.open({ uri: "test:///default", socketPath: "/nowhere/libvirt-sock", log });
    try {
      await expect(client.call("connectListAllDomains", {}, { timeoutMs: 50 })).rejects.toMatchObject({
        code: "UNAVAILABLE",
        reason: "LibvirtUnreachable",
        message: expect.stringContaining("installed and running"),
      });
      const waiting = client.whenConnected(AbortSignal.abort());
      await expect(waiting).rejects.toMatchObject({ code: "CANCELLED" });
    } finally {
      await client.close();
    }
    await expect(client.call("connectListAllDomains", {})).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "LibvirtClosed" });
  });
});
