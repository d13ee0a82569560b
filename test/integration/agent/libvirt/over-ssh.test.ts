import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openSshHost, type SshHost } from "../../../../agent/host/ssh/ssh-host.ts";
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
  let host: SshHost;

  beforeAll(async () => {
    daemon = await LibvirtDaemon.start();
    sshd = await SshServer.start({ mountNamespaceOf: daemon.pid });
    host = openSshHost({
      ...{ host: sshd.address, port: sshd.port, user: sshd.user, hostKeys: [sshd.hostKey], log },
      privateKey: await readFile(sshd.identityFile, "utf8"),
    });
  });

  afterAll(async () => {
    await host?.close();
    await sshd?.stop();
    await daemon?.close();
  });

  function open(overrides: Partial<LibvirtClientOptions> = {}): LibvirtClient {
    return LibvirtClient.open({ uri: `qemu+ssh://${sshd.user}@${sshd.address}:${sshd.port}/system`, host, log, ...overrides });
  }

  test("is found in its usual place on the other host", async () => {
    const client = open();
    try {
      expect((await client.call("connectGetUri", {})).uri).toBe("qemu:///system");
      expect((await client.call("connectListAllDomains", {})).domains).toEqual([]);
    } finally {
      await client.close();
    }
  });

  test("is reached at the socket that is named, with its events", async () => {
    const client = open({ uri: "test:///default", socketPath: daemon.socketPath });
    try {
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
  });

  test("comes back when sshd was killed and started again", async () => {
    const client = open();
    try {
      await client.whenConnected();
      await sshd.kill();
      await until(() => !client.connected && !host.connected, "the loss");
      await sshd.start();
      expect((await client.call("connectListAllDomains", {})).domains).toEqual([]);
    } finally {
      await client.close();
    }
  });

  test("says what is wrong with a socket that is not there", async () => {
    const client = open({ socketPath: "/nowhere/libvirt-sock" });
    try {
      await until(() => client.lastError !== undefined, "the first attempt");
      expect(client.lastError).toMatchObject({
        code: "UNAVAILABLE",
        message: expect.stringMatching(/\/nowhere\/libvirt-sock.*No such file.*running there/),
      });
    } finally {
      await client.close();
    }
  });

  test("leaves no channel behind when it is closed while it connects", async () => {
    for (let round = 0; round < 20; round++) await open().close();
    const { stdout } = await host.exec({ program: "echo", args: ["free"] });
    expect(stdout).toBe("free\n");
  });
});
