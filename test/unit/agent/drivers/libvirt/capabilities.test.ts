import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { readCapabilities, readDomainCapabilities } from "../../../../../agent/drivers/libvirt/capabilities.ts";

/** As libvirt 9.0.0 and QEMU 7.2 sent them. */
const captured = (name: string) => readFileSync(new URL(`../../../../fixtures/libvirt/${name}.xml`, import.meta.url), "utf8");

test("a host's capabilities name the emulator for its own architecture, its machines and accelerators", () => {
  const { arch, tscKhz, hostUuid, cpu, guest } = readCapabilities(captured("capabilities"));
  expect({ arch, tscKhz, hostUuid, cpu }).toEqual({
    arch: "x86_64",
    tscKhz: 2_596_150,
    hostUuid: "9cd6146a-085f-4bb1-a8c2-e415d896c0aa",
    cpu: "AMD/kvm64/25/17/1/16777317",
  });
  expect(guest?.emulator).toBe("/usr/bin/qemu-system-x86_64");
  expect([...(guest?.accelerators ?? [])]).toEqual(["qemu", "kvm"]);
  expect(["q35", "pc", "microvm", "virt"].map((name) => guest?.machines.has(name))).toEqual([true, true, true, false]);
});

test("a host without an emulator for its architecture has no guests", () => {
  const other = captured("capabilities").replaceAll("<arch name='x86_64'>", "<arch name='riscv64'>");
  expect(readCapabilities(other).guest).toBe(null);
});

test("a machine's capabilities tell firmware, processors and their modes", () => {
  const q35 = readDomainCapabilities(captured("machine-q35-kvm"));
  expect(q35).toMatchObject({ emulator: "/usr/bin/qemu-system-x86_64", maxCpus: 288, uefi: true });
  expect(q35.cpuModes.has("host-passthrough")).toBe(true);
  expect(readDomainCapabilities(captured("machine-q35-qemu")).cpuModes.has("host-passthrough")).toBe(false);
  expect(readDomainCapabilities(captured("machine-q35-qemu")).cpuModes.has("maximum")).toBe(true);
  expect(readDomainCapabilities(captured("machine-microvm-qemu")).uefi).toBe(false);
});
