import { execFile } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { createServer } from "node:net";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { TestHost } from "../../support/host.ts";
import { describeWithPeers } from "../../support/peers.ts";

const run = promisify(execFile);

describeWithPeers("two simulated hosts", ["network-namespaces", "libvirt", "podman", "sshd"], () => {
  let hosts: [TestHost, TestHost];

  beforeAll(async () => {
    hosts = [await TestHost.start(40, { ssh: true }), await TestHost.start(41, { ssh: true })];
  });
  afterAll(async () => {
    await Promise.all(hosts?.map((host) => host.stop()) ?? []);
  });

  it("have a libvirt each, here and over SSH", async () => {
    for (const host of hosts) {
      expect(await uuidOf(["virsh", "-c", host.libvirtUri])).toBe(host.libvirt.hostUuid);
      // The usual place of the socket is, for whoever comes by SSH, this host's daemon.
      expect(await uuidOf(["ssh", ...host.ssh.clientArguments, "virsh", "-c", "qemu:///system"])).toBe(host.libvirt.hostUuid);
      expect(await readdir(host.imageDirectory)).toEqual([]);
    }
    expect(hosts[0].libvirt.hostUuid).not.toBe(hosts[1].libvirt.hostUuid);
  });

  it("have a container engine each, with networks of their own", async () => {
    const [first, second] = hosts;
    await first.podman.importBusyboxImage();
    await first.podman.podman("run", "--detach", "--name", "web", "localhost/busybox:latest", "httpd", "-f", "-p", "80");
    expect((await first.podman.podman("ps", "--format", "{{.Names}}")).trim()).toBe("web");
    expect((await second.podman.podman("ps", "--all", "--format", "{{.Names}}")).trim()).toBe("");
    expect((await run("ip", ["-n", first.namespace.name, "-br", "link"])).stdout).toContain("podman0");
    expect((await run("ip", ["-n", second.namespace.name, "-br", "link"])).stdout).not.toContain("podman0");
    expect((await run("ip", ["-br", "link"])).stdout).not.toContain("podman0");
  });

  it("reach each other once they are connected", async () => {
    const [first, second] = hosts;
    await first.namespace.connect(second.namespace);
    const source = await connectFrom(first, second.ssh.address, second.ssh.port);
    expect(source).toContain("SSH-2.0");
    expect(await connectFrom(second, first.ssh.address, first.ssh.port)).toContain("SSH-2.0");
  });

  it("reach this machine", async () => {
    const server = createServer((socket) => socket.end("hello")).listen(0, hosts[0].namespace.hostAddress);
    await once(server, "listening");
    try {
      const address = server.address() as { port: number };
      expect(await connectFrom(hosts[0], hosts[0].namespace.hostAddress, address.port)).toBe("hello");
    } finally {
      server.close();
    }
  });
});

/** Of the host that a daemon says it is. */
async function uuidOf([command = "", ...args]: string[]): Promise<string | undefined> {
  const { stdout } = await run(command, [...args, "capabilities"], { timeout: 20_000 });
  return /<uuid>([^<]+)<\/uuid>/.exec(stdout)?.[1];
}

/** What a server says first to a client on `host`. */
async function connectFrom(host: TestHost, address: string, port: number): Promise<string> {
  const script = `const s = require("net").connect(${port}, "${address}"); s.on("data", (d) => { process.stdout.write(d); s.destroy(); });`;
  const [command = "", ...args] = [...host.namespace.prefix, process.execPath, "-e", script];
  return (await run(command, args, { timeout: 10_000 })).stdout;
}
