import { Writable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import { EVENTS, type EventName } from "../../../../agent/libvirt/protocol/event-table.ts";
import { AFFECT, METADATA } from "../../../../agent/libvirt/values.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { LibvirtDaemon } from "../../../support/libvirt-daemon.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "libvirt", level: "silent" });

function domainXml(name: string): string {
  return `<domain type='test'><name>${name}</name><memory>1024</memory><os><type>hvm</type></os></domain>`;
}

describeWithPeers("libvirt's events", "libvirt", () => {
  let daemon: LibvirtDaemon;
  let client: LibvirtClient;
  /** Someone else's. */
  let other: LibvirtClient;
  beforeAll(async () => {
    daemon = await LibvirtDaemon.start();
    client = LibvirtClient.open({ uri: daemon.uri("test:///default"), log });
    other = LibvirtClient.open({ uri: daemon.uri("test:///default"), log });
  });
  afterAll(async () => {
    await Promise.all([client?.close(), other?.close()]);
    await daemon?.close();
  });

  test("tell a domain's life in its order, whoever changes it", async () => {
    const seen: string[] = [];
    const off = client.on("domainLifecycle", ({ dom, event, detail }) => seen.push(`${dom.name} ${event} ${detail}`));
    // A call after `on` runs after the registration.
    await client.call("connectGetHostname", {});
    const { dom } = await other.call("domainDefineXmlFlags", { xml: domainXml("life") });
    await other.call("domainCreateWithFlags", { dom });
    await other.call("domainSuspend", { dom });
    await other.call("domainResume", { dom });
    await other.call("domainDestroyFlags", { dom });
    await other.call("domainUndefineFlags", { dom });
    await until(() => seen.length === 6, "six events");
    expect(seen).toEqual(["life DEFINED 0", "life STARTED 0", "life SUSPENDED 0", "life RESUMED 0", "life STOPPED 1", "life UNDEFINED 0"]);
    off();
  });

  test("are complete and in order for five hundred domains", async () => {
    const seen: string[] = [];
    const off = client.on("domainLifecycle", ({ dom, event }) => seen.push(`${dom.name} ${event}`));
    await client.call("connectGetHostname", {});
    const names = Array.from({ length: 500 }, (_unused, index) => `many-${index}`);
    await Promise.all(
      names.map(async (name) => {
        const { dom } = await other.call("domainCreateXml", { xmlDesc: domainXml(name) });
        await other.call("domainDestroyFlags", { dom });
      }),
    );
    await until(() => seen.length >= 1000, "a thousand events");
    const ofOne = (name: string) => seen.filter((event) => event.startsWith(`${name} `)).map((event) => event.split(" ")[1]);
    expect(seen).toHaveLength(1000);
    for (const name of names) expect(ofOne(name)).toEqual(["STARTED", "STOPPED"]);
    off();
  });

  test("of networks, pools and metadata come with their object", async () => {
    const seen: unknown[] = [];
    const offs = [
      client.on("networkLifecycle", ({ net, event }) => seen.push([net.name, event])),
      client.on("storagePoolLifecycle", ({ pool, event }) => seen.push([pool.name, event])),
      client.on("storagePoolRefresh", ({ pool }) => seen.push([pool.name, "REFRESH"])),
      client.on("domainMetadataChange", ({ dom, type, nsuri }) => seen.push([dom.name, type, nsuri])),
    ];
    await client.call("connectGetHostname", {});
    const { net } = await other.call("networkLookupByName", { name: "default" });
    await other.call("networkDestroy", { net });
    await other.call("networkCreate", { net });
    const { pool } = await other.call("storagePoolDefineXml", {
      xml: "<pool type='dir'><name>extra</name><target><path>/extra</path></target></pool>",
    });
    await other.call("storagePoolCreate", { pool });
    await other.call("storagePoolRefresh", { pool });
    await other.call("storagePoolDestroy", { pool });
    await other.call("storagePoolUndefine", { pool });
    const { dom } = await other.call("domainLookupByName", { name: "test" });
    await other.call("domainSetMetadata", {
      dom,
      type: METADATA.ELEMENT,
      metadata: "<x/>",
      key: "fg",
      uri: "https://fleetgraph.dev/x",
      flags: AFFECT.LIVE,
    });
    await until(() => seen.length === 8, "eight events");
    expect(seen).toEqual([
      ["default", "STOPPED"],
      ["default", "STARTED"],
      ["extra", "DEFINED"],
      ["extra", "STARTED"],
      ["extra", "REFRESH"],
      ["extra", "STOPPED"],
      ["extra", "UNDEFINED"],
      ["test", "ELEMENT", "https://fleetgraph.dev/x"],
    ]);
    for (const off of offs) off();
  });

  test("go on for the others when one listener throws or leaves", async () => {
    const seen: string[] = [];
    const offs = [
      client.on("domainLifecycle", () => {
        throw new Error("a listener's own");
      }),
      client.on("domainLifecycle", ({ event }) => {
        if (event === "STARTED") leaving();
        seen.push(`second ${event}`);
      }),
    ];
    const leaving = client.on("domainLifecycle", ({ event }) => seen.push(`third ${event}`));
    await client.call("connectGetHostname", {});
    const { dom } = await other.call("domainCreateXml", { xmlDesc: domainXml("heard") });
    await other.call("domainDestroyFlags", { dom });
    await until(() => seen.includes("second STOPPED"));
    expect(seen).toEqual(["second STARTED", "third STARTED", "second STOPPED"]);
    for (const off of offs) off();
  });

  test("can be listened to, left and listened to again at once", async () => {
    const seen: string[] = [];
    for (let round = 0; round < 20; round++) client.on("domainLifecycle", () => seen.push("left"))();
    const off = client.on("domainLifecycle", ({ event }) => seen.push(event));
    await client.call("connectGetHostname", {});
    const { dom } = await other.call("domainCreateXml", { xmlDesc: domainXml("again") });
    await other.call("domainDestroyFlags", { dom });
    await until(() => seen.length === 2);
    expect(seen).toEqual(["STARTED", "STOPPED"]);
    off();
  });

  test("of every kind can be registered with QEMU", async () => {
    const lines: string[] = [];
    const noisy = createLogger({ name: "libvirt", level: "warn", destination: sink(lines) });
    const qemu = LibvirtClient.open({ uri: daemon.uri(), log: noisy });
    try {
      for (const name of Object.keys(EVENTS) as EventName[]) qemu.on(name, () => undefined);
      await qemu.whenConnected();
      await qemu.call("connectGetHostname", {});
      expect(lines).toEqual([]);
    } finally {
      await qemu.close();
    }
  });
});

function sink(lines: string[]): Writable {
  return new Writable({
    write(line, _encoding, done) {
      lines.push(String(line));
      done();
    },
  });
}
