import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { missingCapabilities } from "../../../cli/capabilities/probe.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "fleetgraph-host-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function host(files: Record<string, string>) {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
}
const missing = () => missingCapabilities({ root, userId: 1000 });
const remedyFor = (name: string) => missing().find((capability) => capability.name === name)?.remedy;

describe("what a machine lacks", () => {
  it("is nothing where devices, sockets and programs are there", () => {
    host({ "dev/kvm": "", "run/libvirt/libvirt-sock": "", "usr/bin/qemu-system-x86_64": "", "run/podman/podman.sock": "" });
    expect(missing()).toEqual([]);
  });

  it("is everything on an empty one, each with what to do", () => {
    expect(missing().map(({ name }) => name)).toEqual(["KVM", "libvirt", "QEMU", "podman or docker"]);
    expect(missing().every(({ remedy, without }) => remedy.length > 10 && without.length > 10)).toBe(true);
  });

  it("counts the sockets of the user's own session, and those of docker", () => {
    host({ "run/user/1000/libvirt/virtqemud-sock": "", "var/run/docker.sock": "" });
    expect(missing().map(({ name }) => name)).toEqual(["KVM", "QEMU"]);
  });

  it("tells what is installed but does not run from what is not installed", () => {
    host({ "usr/sbin/libvirtd": "" });
    expect(remedyFor("libvirt")).toContain("systemctl");
    expect(remedyFor("podman or docker")).toContain("install");
  });

  it("tells a CPU that could from one that shows no virtualisation", () => {
    host({ "proc/cpuinfo": "flags\t: fpu vmx sse" });
    expect(remedyFor("KVM")).toContain("modprobe");
    host({ "proc/cpuinfo": "flags\t: fpu sse" });
    expect(remedyFor("KVM")).toContain("firmware");
  });

  const asRoot = process.getuid?.() === 0 ? { skip: true, meta: { skipReason: "root may use everything" } } : {};
  it("names the group where the user may not use what is there", asRoot, () => {
    host({ "dev/kvm": "", "run/libvirt/libvirt-sock": "" });
    chmodSync(join(root, "dev/kvm"), 0);
    chmodSync(join(root, "run/libvirt/libvirt-sock"), 0);
    expect(remedyFor("KVM")).toContain("group kvm");
    expect(remedyFor("libvirt")).toContain("group libvirt");
  });
});
