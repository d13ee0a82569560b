import { afterEach, beforeEach, expect, test } from "vitest";
import { LibvirtClient } from "../../../../agent/libvirt/client.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { LibvirtDaemon } from "../../../support/libvirt-daemon.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "libvirt", level: "silent" });
const DOMAIN = "<domain type='test'><name>kept</name><memory>1024</memory><os><type>hvm</type></os></domain>";

describeWithPeers("a client whose libvirtd", "libvirt", () => {
  let daemon: LibvirtDaemon;
  let client: LibvirtClient;
  let changes: boolean[];
  beforeEach(async () => {
    daemon = await LibvirtDaemon.start();
    client = LibvirtClient.open({ uri: daemon.uri("test:///default"), log, keepalive: { intervalMs: 100, unanswered: 3 } });
    changes = [];
    client.onConnectionChange((connected) => changes.push(connected));
  });
  afterEach(async () => {
    await client?.close();
    await daemon?.close();
  });

  test("is killed and started again is back, with its events registered", async () => {
    const seen: string[] = [];
    client.on("domainLifecycle", ({ dom, event }) => seen.push(`${dom.name} ${event}`));
    await client.whenConnected();
    for (let round = 1; round <= 3; round++) {
      await daemon.kill();
      await until(() => !client.connected, "the loss");
      expect(client.lastError).toMatchObject({ code: "UNAVAILABLE" });
      await daemon.start();
      // Waits for the connection, and runs after the registration.
      const { dom } = await client.call("domainDefineXmlFlags", { xml: DOMAIN });
      await until(() => seen.length === round, "the event");
      await client.call("domainGetXmlDesc", { dom });
    }
    expect(seen).toEqual(["kept DEFINED", "kept DEFINED", "kept DEFINED"]);
    expect(changes).toEqual([true, false, true, false, true, false, true]);
  });

  test("is killed fails the calls that it had, and makes the ones that it had not been sent again on the next connection", async () => {
    await client.whenConnected();
    daemon.freeze();
    const calls = Array.from({ length: 50 }, () =>
      client.call("connectListAllDomains", {}).then(
        () => "answered",
        (error) => error.reason,
      ),
    );
    // Four are with the daemon; the others wait here.
    await daemon.kill();
    await until(() => !client.connected, "the loss");
    await daemon.start();
    const outcomes = await Promise.all(calls);
    expect(outcomes.filter((outcome) => outcome === "LibvirtConnectionLost")).toHaveLength(4);
    expect(outcomes.filter((outcome) => outcome === "answered")).toHaveLength(46);
  });

  test("stands still is taken for lost, and found again when it goes on", async () => {
    await client.whenConnected();
    daemon.freeze();
    const call = client.call("connectListAllDomains", {});
    await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "LibvirtConnectionLost" });
    expect(client.lastError?.message).toContain("has not answered for");
    const waiting = client.call("connectListAllDomains", {});
    daemon.thaw();
    expect((await waiting).domains).toHaveLength(1);
    expect(changes).toEqual([true, false, true]);
  });

  test("does not answer leaves a call at its deadline, and the connection as it is", async () => {
    await client.close();
    client = LibvirtClient.open({ uri: daemon.uri("test:///default"), log });
    await client.whenConnected();
    daemon.freeze();
    await expect(client.call("connectListAllDomains", {}, { timeoutMs: 50 })).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await expect(client.call("connectListAllDomains", {}, { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    expect(client.connected).toBe(true);
    daemon.thaw();
    expect((await client.call("connectListAllDomains", {})).domains).toHaveLength(1);
  });

  test("is idle stays connected: each side answers the other's pings", async () => {
    await client.close();
    await daemon.close();
    daemon = await LibvirtDaemon.start({ settings: { keepalive_interval: 1, keepalive_count: 2 } });
    client = LibvirtClient.open({ uri: daemon.uri("test:///default"), log, keepalive: { intervalMs: 60_000, unanswered: 3 } });
    client.onConnectionChange((connected) => changes.push(connected));
    await client.whenConnected();
    changes.length = 0;
    // The daemon gives up after three seconds without an answer.
    await new Promise((resolve) => setTimeout(resolve, 4500));
    expect(changes).toEqual([]);
    expect((await client.call("connectListAllDomains", {})).domains).toHaveLength(1);
  });

  test("never comes leaves nothing behind when the client is closed", async () => {
    await daemon.kill();
    const waiting = client.call("connectListAllDomains", {}).catch((error: Error) => error);
    await client.close();
    expect(await waiting).toMatchObject({ code: "UNAVAILABLE" });
    expect(client.connected).toBe(false);
  });
});
