import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LibvirtClient, type LibvirtClientOptions } from "../../../../agent/libvirt/client.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { LibvirtDaemon } from "../../../support/libvirt-daemon.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { SshServer } from "../../../support/ssh-server.ts";
import { until } from "../../../support/until.ts";

const log = createLogger({ name: "libvirt", level: "silent" });

describeWithPeers("libvirt over ssh", ["libvirt", "sshd"], () => {
  let daemon: LibvirtDaemon;
  let sshd: SshServer;
  let otherSshd: SshServer;
  beforeAll(async () => {
    daemon = await LibvirtDaemon.start();
    sshd = await SshServer.start({ mountNamespaceOf: daemon.pid });
    otherSshd = await SshServer.start();
  });
  afterAll(async () => {
    await sshd?.stop();
    await otherSshd?.stop();
    await daemon?.close();
  });

  function open(overrides: Partial<LibvirtClientOptions> = {}, { port = sshd.port, driver = "qemu", path = "/system" } = {}) {
    const uri = `${driver}+ssh://${sshd.user}@${sshd.address}:${port}${path}`;
    const { identityFile, knownHostsFile } = sshd;
    const ssh = { identityFile, knownHostsFile, ...overrides.ssh, options: ["IdentityAgent=none", ...(overrides.ssh?.options ?? [])] };
    return LibvirtClient.open({ uri, log, ...overrides, ssh });
  }

  /** ssh processes that this process has started. */
  async function sshChildren(): Promise<number> {
    const children = (await readFile(`/proc/self/task/${process.pid}/children`, "utf8")).trim().split(" ").filter(Boolean);
    const names = await Promise.all(children.map((pid) => readFile(`/proc/${pid}/comm`, "utf8").catch(() => "")));
    return names.filter((name) => name.trim() === "ssh").length;
  }

  test("is found by libvirt's own helper on the other host", async () => {
    const client = open();
    try {
      expect((await client.call("connectGetUri", {})).uri).toBe("qemu:///system");
      expect((await client.call("connectListAllDomains", {})).domains).toEqual([]);
    } finally {
      await client.close();
    }
    expect(await sshChildren()).toBe(0);
  });

  test("is reached through netcat where the other host's socket is named", async () => {
    const client = open({ socketPath: daemon.socketPath }, { driver: "test", path: "/default" });
    try {
      expect((await client.call("connectListAllDomains", {})).domains.map(({ name }) => name)).toEqual(["test"]);
      const seen: string[] = [];
      client.on("domainLifecycle", ({ event }) => seen.push(event));
      const [dom] = (await client.call("connectListAllDomains", {})).domains;
      await client.call("domainDestroyFlags", { dom: dom! });
      await client.call("domainCreateWithFlags", { dom: dom! });
      await until(() => seen.length === 2);
      expect(seen).toEqual(["STOPPED", "STARTED"]);
    } finally {
      await client.close();
    }
    expect(await sshChildren()).toBe(0);
  });

  test("comes back when sshd was killed and started again", async () => {
    const client = open();
    try {
      await client.whenConnected();
      await sshd.kill();
      await until(() => !client.connected, "the loss");
      await sshd.start();
      expect((await client.call("connectListAllDomains", {})).domains).toEqual([]);
    } finally {
      await client.close();
    }
    expect(await sshChildren()).toBe(0);
  });

  test("refuses a host whose key is not known, and says what ssh says", async () => {
    const client = open({ ssh: { knownHostsFile: otherSshd.knownHostsFile } });
    try {
      await until(() => client.lastError !== undefined, "the first attempt");
      expect(client.lastError).toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("Host key verification failed") });
    } finally {
      await client.close();
    }
  });

  test("is refused with another key, and never asks for a password", async () => {
    const client = open({ ssh: { identityFile: otherSshd.identityFile } });
    try {
      await until(() => client.lastError !== undefined, "the first attempt");
      expect(client.lastError).toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("Permission denied") });
    } finally {
      await client.close();
    }
  });

  test("says what the other host's netcat says about a socket that is not there", async () => {
    const client = open({ socketPath: "/nowhere/libvirt-sock" });
    try {
      await until(() => client.lastError !== undefined, "the first attempt");
      expect(client.lastError).toMatchObject({
        code: "UNAVAILABLE",
        message: expect.stringMatching(/\/nowhere\/libvirt-sock.*No such file/),
      });
    } finally {
      await client.close();
    }
  });

  test("leaves no ssh behind when it is closed while it connects", async () => {
    for (let round = 0; round < 5; round++) {
      const client = open();
      await until(async () => (await sshChildren()) > 0, "ssh to be started");
      await client.close();
      expect(await sshChildren()).toBe(0);
    }
  });
});
