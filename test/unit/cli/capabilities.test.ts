import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { missingCapabilities } from "../../../cli/capabilities/probe.ts";

let root: string;
let daemons: Server[];
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "fleetgraph-host-"));
  daemons = [];
});
afterEach(() => {
  for (const daemon of daemons) daemon.close();
  rmSync(root, { recursive: true, force: true });
});

function host(files: Record<string, string>) {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}
async function daemon(path: string) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  const server = createServer((socket) => socket.destroy());
  daemons.push(server);
  await new Promise<void>((resolve) => server.listen(join(root, path), resolve));
}
/** What an inventory is read with. */
const INVENTORY = { "usr/sbin/smartctl": "", "usr/bin/udevadm": "", "var/log/journal/x": "", "usr/share/misc/pci.ids": "" };
const missing = () => missingCapabilities({ root });
const names = async () => (await missing()).map(({ name }) => name);
const remedyFor = async (name: string) => (await missing()).find((capability) => capability.name === name)?.remedy;

describe("what a machine lacks", () => {
  it("is nothing where devices and programs are there and the daemons answer", async () => {
    host({ "dev/kvm": "", "usr/bin/qemu-system-x86_64": "", ...INVENTORY });
    await daemon("run/libvirt/libvirt-sock");
    await daemon("run/podman/podman.sock");
    expect(await missing()).toEqual([]);
  });

  it("is everything on an empty one, each with what to do", async () => {
    expect(await names()).toEqual(["KVM", "libvirt", "QEMU", "podman or docker", "smartctl", "udevadm", "journal", "pci.ids"]);
    expect((await missing()).every(({ remedy, without }) => remedy.length > 10 && without.length > 10)).toBe(true);
  });

  it("counts libvirt's modular daemon, and docker", async () => {
    host(INVENTORY);
    await daemon("run/libvirt/virtqemud-sock");
    await daemon("var/run/docker.sock");
    expect(await names()).toEqual(["KVM", "QEMU"]);
  });

  it("does not count the daemons of a user's own session, which the agent does not use", async () => {
    host(INVENTORY);
    await daemon("run/user/1000/libvirt/libvirt-sock");
    await daemon("run/user/1000/podman/podman.sock");
    expect(await names()).toEqual(["KVM", "libvirt", "QEMU", "podman or docker"]);
  });

  it("looks where the agent was told to look", async () => {
    host(INVENTORY);
    await daemon("srv/libvirt.sock");
    await daemon("srv/engine.sock");
    const found = await missingCapabilities({ root, libvirtSockets: ["/srv/libvirt.sock"], containerSockets: ["/srv/engine.sock"] });
    expect(found.map(({ name }) => name)).toEqual(["KVM", "QEMU"]);
  });

  it("tells a socket that a dead daemon left behind", async () => {
    host({ "run/libvirt/libvirt-sock": "", "run/podman/podman.sock": "" });
    expect(await remedyFor("libvirt")).toMatch(/^\/run\/libvirt\/libvirt-sock is there, but nothing answers: systemctl/);
    expect(await remedyFor("podman or docker")).toMatch(/^\/run\/podman\/podman.sock is there, but nothing answers: systemctl/);
  });

  it("tells what is installed but does not run from what is not installed", async () => {
    host({ "usr/sbin/libvirtd": "" });
    expect(await remedyFor("libvirt")).toContain("systemctl");
    expect(await remedyFor("podman or docker")).toContain("install");
  });

  it("tells a CPU that could from one that shows no virtualisation", async () => {
    host({ "proc/cpuinfo": "flags\t: fpu vmx sse" });
    expect(await remedyFor("KVM")).toContain("modprobe");
    host({ "proc/cpuinfo": "flags\t: fpu sse" });
    expect(await remedyFor("KVM")).toContain("firmware");
  });

  const asRoot = process.getuid?.() === 0 ? { skip: true, meta: { skipReason: "root may use everything" } } : {};
  it("names the group where the user may not use what is there", asRoot, async () => {
    host({ "dev/kvm": "" });
    chmodSync(join(root, "dev/kvm"), 0);
    for (const socket of ["run/libvirt/libvirt-sock", "run/podman/podman.sock"]) {
      await daemon(socket);
      chmodSync(join(root, socket), 0);
    }
    expect(await remedyFor("KVM")).toContain("group kvm");
    expect(await remedyFor("libvirt")).toContain("group libvirt");
    expect(await remedyFor("podman or docker")).toContain("run the agent as root");
  });
});
