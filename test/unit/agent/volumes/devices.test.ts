import { expect, test } from "vitest";
import { domainXml } from "../../../../agent/drivers/libvirt/domain-xml.ts";
import {
  diskAlias,
  diskElement,
  type ExtraDisk,
  freeTarget,
  interfaceElement,
  readDevices,
  targetName,
} from "../../../../agent/drivers/libvirt/volumes/devices.ts";
import { diskUsesIn } from "../../../../agent/drivers/libvirt/volumes/disk-users.ts";
import { nextPlace, type PciPlaces, readPciPlaces } from "../../../../agent/drivers/libvirt/volumes/pci-places.ts";
import { isNothing, planPlug } from "../../../../agent/drivers/libvirt/volumes/plug-plan.ts";
import { attribute, buildXml, element, elements, parseXml, text } from "../../../../agent/drivers/libvirt/xml.ts";
import { InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ABILITIES, instancePlan } from "../../../support/instance-plans.ts";

const DISK: ExtraDisk = { name: "data", path: "/pools/p/data.raw", format: "raw", readOnly: false };
const NIC = { name: "back", mac: "52:00:00:00:00:01", network: "lab", filter: "f" };
const place = { target: "vdb", address: null, ioTune: null };
const STORAGE = {
  disks: [{ name: "root", path: "/i/root.qcow2", format: "qcow2" as const, boot: true, type: "" as const, sizeBytes: 1 }],
  kernel: null,
  initrd: null,
  seed: null,
};

function built(type = InstanceType.VM): string {
  const plan = instancePlan({ kernel: "k", limits: { ioReadBps: 1000 } }, { type });
  const extras = {
    disks: [DISK, { ...DISK, name: "ro", path: "/pools/p/ro.qcow2", format: "qcow2" as const, readOnly: true }],
    interfaces: [NIC],
  };
  return domainXml({ plan, storage: STORAGE, abilities: ABILITIES, interfaces: [{ network: "default", filter: null }], extras });
}

test("a volume's format is said, nothing is below it, and only one that is read is shared", () => {
  const disk = element(parseXml(buildXml({ disk: diskElement(DISK, place) }), "disk"));
  expect(attribute(element(disk, "driver"), "type")).toBe("raw");
  expect(element(disk, "backingStore")).toEqual({});
  expect(text(element(disk, "serial"))).toBe("data");
  expect([element(disk, "readonly"), element(disk, "shareable")]).toEqual([null, null]);
  const readOnly = element(parseXml(buildXml({ disk: diskElement({ ...DISK, readOnly: true }, place) }), "disk"));
  expect([element(readOnly, "readonly"), element(readOnly, "shareable")]).toEqual([{}, {}]);
});

test("what a domain was given is found again by its alias, and its own disks are told apart", () => {
  const present = readDevices(built());
  expect(present.disks).toEqual([
    { name: "data", paths: ["/pools/p/data.raw"], readOnly: false, target: "vdb" },
    { name: "ro", paths: ["/pools/p/ro.qcow2"], readOnly: true, target: "vdc" },
  ]);
  expect(present.interfaces).toEqual([NIC]);
  expect(present.targets).toEqual(["vda", "vdb", "vdc"]);
  expect(present.serials).toEqual(["root"]);
  expect(present.ioTune).toMatchObject({ read_bytes_sec: "1000", group_name: "fleetgraph" });
  expect(
    readDevices(buildXml({ domain: { devices: { interface: interfaceElement({ ...NIC, filter: null }, null) } } })).interfaces,
  ).toEqual([{ ...NIC, filter: null }]);
});

test("a q35 has ports for devices that come while it runs; a microVM has none, and its devices no PCI", () => {
  const ports = (xml: string) =>
    elements(element(parseXml(xml, "domain"), "devices"), "controller").filter((one) => attribute(one, "model") === "pcie-root-port")
      .length;
  const devices = 3 + 2 + 4;
  expect(ports(built())).toBe(devices + 8);
  const micro = built(InstanceType.MICROVM);
  expect(ports(micro)).toBe(0);
  for (const disk of elements(element(parseXml(micro, "domain"), "devices"), "disk")) {
    expect(attribute(element(disk, "address"), "type")).toBe("virtio-mmio");
  }
});

test("what is there as asked for stays; what is there differently goes and comes", () => {
  const present = readDevices(built());
  const readOnly = { ...DISK, name: "ro", path: "/pools/p/ro.qcow2", format: "qcow2" as const, readOnly: true };
  expect(isNothing(planPlug(present, { disks: [DISK, readOnly], interfaces: [NIC] }))).toBe(true);
  expect(planPlug(present, { disks: [], interfaces: [] }).detach).toEqual(["ua-volume-data", "ua-volume-ro", "ua-nic-back"]);
  const writable = { ...readOnly, readOnly: false };
  expect(planPlug(present, { disks: [DISK, writable], interfaces: [NIC] })).toEqual({
    detach: [diskAlias("ro")],
    disks: [writable],
    interfaces: [],
  });
  const elsewhere = { ...NIC, network: "other" };
  expect(planPlug(present, { disks: [DISK, readOnly], interfaces: [elsewhere] })).toEqual({
    detach: ["ua-nic-back"],
    disks: [],
    interfaces: [elsewhere],
  });
});

test("one that a snapshot has put a file on top of is still that volume", () => {
  const onTop = {
    ...diskElement(DISK, place),
    source: { "@file": "/pools/p/data.snap" },
    backingStore: { source: { "@file": "/pools/p/data.raw" }, backingStore: true },
  };
  const present = readDevices(buildXml({ domain: { devices: { disk: onTop } } }));
  expect(isNothing(planPlug(present, { disks: [DISK], interfaces: [] }))).toBe(true);
});

test("who uses a file is told with how: on top, below, or as what a disk is copied to", () => {
  const disk = {
    ...diskElement(DISK, place),
    backingStore: { source: { "@file": "/base" }, backingStore: true },
    mirror: { source: { "@file": "/copy" } },
  };
  const uses = diskUsesIn(buildXml({ domain: { name: "theirs", uuid: "u", devices: { disk } } }), true);
  expect(uses.map(({ user, path, isTop, readOnly, target, live }) => [user, path, isTop, readOnly, target, live])).toEqual([
    ["theirs", "/pools/p/data.raw", true, false, "vdb", true],
    ["theirs", "/base", false, true, "vdb", true],
    ["theirs", "/copy", true, false, "vdb", true],
  ]);
});

test("targets are named as a guest counts, and the first free one is taken", () => {
  expect([0, 25, 26, 27, 701, 702].map(targetName)).toEqual(["vda", "vdz", "vdaa", "vdab", "vdzz", "vdaaa"]);
  expect(freeTarget(new Set(["vda", "vdc"]))).toBe("vdb");
});

test("a device goes behind all of its kind, in every view of the domain", () => {
  const at = (bus: number, slot = 0) => ({ address: { "@type": "pci", "@bus": `0x0${bus}`, "@slot": `0x0${slot}` } });
  const domain = (machine: string, devices: object) =>
    readPciPlaces(parseXml(buildXml({ domain: { os: { type: { "@machine": machine } }, devices: devices as never } }), "domain"));
  const ports = [1, 2, 3, 4, 5].map((index) => ({ "@type": "pci", "@index": index, "@model": "pcie-root-port" }));
  const q35 = domain("pc-q35-7.2", { controller: ports, interface: at(1), disk: [at(3)] });
  const other: PciPlaces = { ...q35, taken: new Set([...q35.taken, 4 * 32]) };
  expect(nextPlace("disk", [q35])).toMatchObject({ "@bus": 4, "@slot": 0 });
  expect(nextPlace("disk", [q35, other])).toMatchObject({ "@bus": 5 });
  expect(nextPlace("interface", [q35])).toMatchObject({ "@bus": 2 });
  expect(nextPlace("disk", [domain("q35", { controller: ports, disk: at(5) })])).toBe(null);
  expect(nextPlace("disk", [domain("pc-i440fx-7.2", { disk: at(0, 6), interface: at(0, 7) })])).toMatchObject({ "@bus": 0, "@slot": 8 });
  expect(nextPlace("disk", [domain("microvm", {})])).toBe(null);
});
