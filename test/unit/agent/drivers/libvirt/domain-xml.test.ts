import { afterEach, describe, expect, test } from "vitest";
import { readDomainXml } from "../../../../../agent/drivers/libvirt/domain-facts.ts";
import { readMarkNotes } from "../../../../../agent/drivers/libvirt/domain-mark.ts";
import { commandLine, domainXml, macAddress } from "../../../../../agent/drivers/libvirt/domain-xml.ts";
import type { PreparedStorage } from "../../../../../agent/drivers/libvirt/storage/instance-storage.ts";
import { attribute, element, elements, parseXml, text, type XmlElement } from "../../../../../agent/drivers/libvirt/xml.ts";
import { Firmware, InstanceType } from "../../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ABILITIES, instancePlan, MIB, randomText } from "../../../../support/instance-plans.ts";
import { seededRandom, seedOfRun } from "../../../../support/random.ts";

const SEED = seedOfRun();
const NOTHING: PreparedStorage = { disks: [], kernel: null, initrd: null, seed: null };
const disk = (name: string, boot = false, type: "" | "ssd" | "hdd" = "") => ({
  name,
  path: `/i/${name}.qcow2`,
  format: "qcow2" as const,
  boot,
  type,
  sizeBytes: 64 * MIB,
});

afterEach(({ task }) => {
  if (task.result?.state === "fail") process.stderr.write(`repeat with SEED=${SEED}\n`);
});

function built(plan = instancePlan(), storage: Partial<PreparedStorage> = {}, abilities = ABILITIES): XmlElement {
  const interfaces = [{ network: "default", filter: null }];
  return parseXml(domainXml({ plan, storage: { ...NOTHING, ...storage }, abilities, interfaces }), "domain");
}

const devices = (domain: XmlElement, name: string) => elements(element(domain, "devices"), name);

test("whatever a user writes comes back unchanged: names, labels, annotations, variables, kernel arguments", () => {
  const random = seededRandom(SEED);
  const words = () => Object.fromEntries(Array.from({ length: 3 }, () => [randomText(random), randomText(random)]));
  for (let round = 0; round < 200; round++) {
    const kernelArgs = randomText(random).replaceAll("\n", "");
    const [name, labels, annotations, env] = [randomText(random), words(), words(), words()];
    const domain = built(instancePlan({ kernel: "linux", kernelArgs, env }, { name, labels, annotations }), { kernel: `/i/${name}` });
    expect(readMarkNotes(element(domain, "metadata"))).toEqual({ name, labels, annotations, env });
    expect(text(element(domain, "os", "cmdline"))).toBe(kernelArgs);
    expect(text(element(domain, "os", "kernel"))).toBe(`/i/${name}`);
    expect(text(element(domain, "title"))).toBe(name.replace(/\n+/g, " "));
  }
});

test("even characters that XML has none for are kept in the mark, and leave the title readable", () => {
  const name = "a\u0000b\u001b\ufffe\ud800c";
  const domain = built(instancePlan({}, { name, labels: { "\u0007": "\u009f\uffff" } }));
  expect(readMarkNotes(element(domain, "metadata"))).toMatchObject({ name, labels: { "\u0007": "\u009f\uffff" } });
  expect(text(element(domain, "title"))).toBe("a\ufffdb\ufffd\ufffd\ufffdc");
});

describe("a VM", () => {
  test("is a q35 with the host's processor, ended by power off and by a crash", () => {
    const domain = built();
    expect(attribute(domain, "type")).toBe("kvm");
    expect(attribute(element(domain, "os", "type"), "machine")).toBe("q35");
    expect(attribute(element(domain, "cpu"), "mode")).toBe("host-passthrough");
    expect(["on_poweroff", "on_reboot", "on_crash"].map((name) => text(element(domain, name)))).toEqual(["destroy", "restart", "destroy"]);
    expect(attribute(devices(domain, "memballoon")[0] ?? null, "model")).toBe("virtio");
    expect(devices(domain, "panic")).toHaveLength(1);
    expect(element(domain, "cputune")).toBe(null);
  });

  test("is found again by what its XML says", () => {
    const facts = readDomainXml(
      domainXml({
        plan: instancePlan({ cpuCores: 3 }),
        storage: NOTHING,
        abilities: ABILITIES,
        interfaces: [{ network: "n", filter: "f" }],
      }),
    );
    expect(facts).toMatchObject({
      name: "inst-0123456789abcdef",
      type: InstanceType.VM,
      cpuCores: 3,
      memoryBytes: 128 * MIB,
      mark: { instanceId: "inst-0123456789abcdef", nodeId: "node-1", generation: 1 },
      interfaces: [{ mac: macAddress("inst-0123456789abcdef", 0), network: "n", filter: "f" }],
      startedAt: null,
    });
  });

  test("boots from the boot disk first, then in the order of the list", () => {
    const domain = built(instancePlan(), { disks: [disk("a"), disk("b"), disk("root", true)] });
    const order = devices(domain, "disk").map((one) => `${text(element(one, "serial"))} ${attribute(element(one, "boot"), "order")}`);
    expect(order).toEqual(["a 2", "b 3", "root 1"]);
  });

  test("has virtio disks that stop the guest on an error, and give room back on SSDs", () => {
    const domain = built(instancePlan(), { disks: [disk("a", true, "ssd"), disk("b", false, "hdd")], seed: "/i/seed.iso" });
    const [ssd, hdd, seed] = devices(domain, "disk");
    expect([ssd, hdd].map((one) => attribute(element(one ?? null, "driver"), "discard"))).toEqual(["unmap", ""]);
    expect([ssd, hdd].map((one) => attribute(element(one ?? null, "driver"), "error_policy"))).toEqual(["stop", "stop"]);
    expect([ssd, hdd, seed].map((one) => attribute(element(one ?? null, "target"), "dev"))).toEqual(["vda", "vdb", "vdc"]);
    expect(element(seed ?? null, "readonly")).not.toBe(null);
    expect(attribute(element(seed ?? null, "driver"), "type")).toBe("raw");
  });

  test("with very many disks gives each a name of its own", () => {
    const domain = built(instancePlan(), { disks: Array.from({ length: 60 }, (_, index) => disk(`d${index}`)) });
    const names = devices(domain, "disk").map((one) => attribute(element(one, "target"), "dev"));
    expect([names[25], names[26], names[52]]).toEqual(["vdz", "vdaa", "vdba"]);
    expect(new Set(names).size).toBe(60);
  });

  test("has UEFI where it is asked for, of the kind that boots unsigned images", () => {
    const os = element(built(instancePlan({ firmware: Firmware.UEFI })), "os");
    expect(attribute(os, "firmware")).toBe("efi");
    expect(attribute(element(os, "firmware", "feature"), "enabled")).toBe("no");
    expect(attribute(element(built(), "os"), "firmware")).toBe("");
  });

  test("is limited as a whole: all its processors together, all its disks together", () => {
    const limits = { cpuQuota: 150_000, ioReadBps: 1000, ioWriteBps: 2000 };
    const domain = built(instancePlan({ limits }), { disks: [disk("a"), disk("b")] });
    const tune = element(domain, "cputune");
    expect([text(element(tune, "global_period")), text(element(tune, "global_quota"))]).toEqual(["100000", "150000"]);
    for (const one of devices(domain, "disk")) {
      const names = ["read_bytes_sec", "write_bytes_sec", "group_name"];
      expect(names.map((name) => text(element(one, "iotune", name)))).toEqual(["1000", "2000", "fleetgraph"]);
    }
  });

  test("has an address on each network that stays the same, and a filter where there is one", () => {
    const interfaces = [
      { network: "default", filter: "fleetgraph-x" },
      { network: "public", filter: null },
    ];
    const twice = [1, 2].map(() =>
      parseXml(domainXml({ plan: instancePlan(), storage: NOTHING, abilities: ABILITIES, interfaces }), "domain"),
    );
    const macs = twice.map((domain) => devices(domain, "interface").map((nic) => attribute(element(nic, "mac"), "address")));
    expect(macs[0]).toEqual(macs[1]);
    expect(new Set(macs[0]).size).toBe(2);
    expect(macs[0]?.every((mac) => /^52(:[0-9a-f]{2}){5}$/.test(mac))).toBe(true);
    expect(devices(twice[0] as XmlElement, "interface").map((nic) => attribute(element(nic, "filterref"), "filter"))).toEqual([
      "fleetgraph-x",
      "",
    ]);
  });
});

describe("a microVM", () => {
  const plan = instancePlan({ kernel: "linux", kernelArgs: "console=ttyS0" }, { type: InstanceType.MICROVM });

  test("has no PCI, no USB and no balloon", () => {
    const domain = built(plan, { kernel: "/i/linux", disks: [disk("a")], seed: "/i/seed.iso" });
    expect(attribute(element(domain, "os", "type"), "machine")).toBe("microvm");
    const onBus = ["disk", "interface", "rng"].flatMap((name) => devices(domain, name));
    expect(onBus.map((one) => attribute(element(one, "address"), "type"))).toEqual([
      "virtio-mmio",
      "virtio-mmio",
      "virtio-mmio",
      "virtio-mmio",
    ]);
    expect(devices(domain, "controller").map((one) => attribute(one, "model"))).toEqual(["none", ""]);
    expect(attribute(devices(domain, "memballoon")[0] ?? null, "model")).toBe("none");
    expect(devices(domain, "panic")).toHaveLength(0);
    expect(readDomainXml(domainXml({ plan, storage: NOTHING, abilities: ABILITIES, interfaces: [] })).type).toBe(InstanceType.MICROVM);
  });

  test("is told its clock's rate under emulation only, before what its user says", () => {
    expect(commandLine(plan, { accelerator: "qemu", tscKhz: 2_000_000 })).toBe("tsc_early_khz=2000000 console=ttyS0");
    expect(commandLine(plan, { accelerator: "qemu", tscKhz: null })).toBe("console=ttyS0");
    expect(commandLine(plan, { accelerator: "kvm", tscKhz: 2_000_000 })).toBe("console=ttyS0");
    expect(commandLine({ ...plan, type: InstanceType.VM }, { accelerator: "qemu", tscKhz: 2_000_000 })).toBe("console=ttyS0");
  });
});
