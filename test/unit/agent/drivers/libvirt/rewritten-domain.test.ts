import { expect, it } from "vitest";
import { comparableCpu, readGuest } from "../../../../../agent/drivers/libvirt/migration/guest-xml.ts";
import { readQemuUser } from "../../../../../agent/drivers/libvirt/migration/qemu-user.ts";
import { nameOf, rewrittenDomain, uuidOf } from "../../../../../agent/drivers/libvirt/migration/rewritten-domain.ts";

const XML = `<domain type='kvm'>
  <name>inst-1</name>
  <uuid>4f79165c-969c-48d3-8d4e-a4222fd9f569</uuid>
  <metadata>
    <other:note xmlns:other="https://example.org/">a &amp; b &lt;c&gt;</other:note>
    <fg:instance xmlns:fg="https://fleetgraph.dev/domain/1" id="inst-1" node="node-a" generation="3">{"name":"a &amp; b"}</fg:instance>
  </metadata>
  <os>
    <type arch='x86_64' machine='pc-q35-7.2'>hvm</type>
    <kernel>/a/images/kernel</kernel>
    <cmdline>console=ttyS0 x="1 &amp; 2"</cmdline>
  </os>
  <cpu mode='custom' match='exact'><model>Skylake</model></cpu>
  <devices>
    <emulator>/usr/bin/qemu-a</emulator>
    <disk type='file' device='disk'>
      <source file='/a/instances/inst-1.root.qcow2'/>
      <backingStore type='file'><source file='/a/images/base.qcow2'/><backingStore/></backingStore>
      <target dev='vda' bus='virtio'/>
    </disk>
    <disk type='file' device='disk'><source file='/a/instances/inst-1.seed.iso'/><target dev='vdb'/><readonly/></disk>
    <disk type='file' device='disk'><source file='/shared/data.raw'/><target dev='vdc'/></disk>
    <disk type='block' device='disk'><source dev='/dev/sdz'/><target dev='vdd'/></disk>
    <interface type='network'><source network='default'/></interface>
    <interface type='bridge'><source bridge='br0'/></interface>
    <hostdev mode='subsystem' type='pci'/>
  </devices>
</domain>`;

const rewriting = {
  mark: { instanceId: "inst-1", nodeId: "node-b", generation: 4 },
  emulator: "/usr/bin/qemu-b",
  paths: new Map([
    ["/a/instances/inst-1.root.qcow2", "/b/it's & more/inst-1.root.qcow2"],
    ["/a/images/kernel", "/b/images/kernel"],
  ]),
  flat: new Set(["/a/instances/inst-1.root.qcow2"]),
};

it("changes mark, emulator and paths, and nothing else", () => {
  const expected = XML.replace('node="node-a" generation="3"', 'node="node-b" generation="4"')
    .replace("qemu-a", "qemu-b")
    .replace("/a/images/kernel", "/b/images/kernel")
    .replace("/a/instances/inst-1.root.qcow2", "/b/it&apos;s &amp; more/inst-1.root.qcow2")
    .replace(/\s*<backingStore.*<\/backingStore>/, "\n      ");
  const sameQuotes = (text: string) => text.replaceAll(/\s+/g, " ").replaceAll("'", '"').replaceAll("> <", "><");
  expect(sameQuotes(rewrittenDomain(XML, rewriting))).toBe(sameQuotes(expected));
});

it("gives back what it does not touch, entities included", () => {
  const written = rewrittenDomain(XML, { ...rewriting, paths: new Map(), flat: new Set() });
  for (const piece of ["a &amp; b &lt;c&gt;", '{"name":"a &amp; b"}', 'x="1 &amp; 2"']) expect(written).toContain(piece);
  expect(uuidOf(written)).toBe("4f79165c-969c-48d3-8d4e-a4222fd9f569");
  expect(nameOf(written)).toBe("inst-1");
});

it("refuses a domain of another instance", () => {
  const mark = { ...rewriting.mark, instanceId: "inst-2" };
  expect(() => rewrittenDomain(XML, { ...rewriting, mark })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
});

it("tells what a guest needs of a host, and what no other host has", () => {
  expect(readGuest(XML, "inst-1")).toEqual({
    arch: "x86_64",
    machine: "pc-q35-7.2",
    accelerator: "kvm",
    networks: ["default"],
    disks: [
      { target: "vda", path: "/a/instances/inst-1.root.qcow2", kind: "own", backing: ["/a/images/base.qcow2"] },
      { target: "vdb", path: "/a/instances/inst-1.seed.iso", kind: "seed", backing: [] },
      { target: "vdc", path: "/shared/data.raw", kind: "shared", backing: [] },
    ],
    kernel: "/a/images/kernel",
    initrd: "",
    bound: ["hostdev", "interface of type bridge"],
    unmovable: ["vdd"],
  });
});

it("compares the processor that the guest has, or else the model of its host", () => {
  const capabilities = `<domainCapabilities><cpu><mode name='host-passthrough' supported='yes'/>
    <mode name='host-model' supported='yes'><model fallback='forbid'>Cascadelake</model><feature policy='require' name='vmx'/></mode></cpu></domainCapabilities>`;
  expect(comparableCpu(XML, capabilities)).toContain("<model>Skylake</model>");
  const passed = comparableCpu(XML.replace("mode='custom' match='exact'", "mode='host-passthrough'"), capabilities);
  expect(passed).toMatch(/^<cpu mode="custom" match="exact"><model fallback="forbid">Cascadelake<\/model><feature/);
  expect(comparableCpu(XML.replace("mode='custom'", "mode='maximum'"), "<domainCapabilities/>")).toBe("");
});

it("reads whom QEMU runs as", () => {
  const capabilities = `<capabilities><host><secmodel><model>none</model></secmodel><secmodel><model>dac</model>
    <baselabel type='kvm'>+64055:+109</baselabel><baselabel type='qemu'>+1:+2</baselabel></secmodel></host></capabilities>`;
  expect(readQemuUser(capabilities, "kvm")).toEqual({ uid: 64055, gid: 109 });
  expect(readQemuUser(capabilities, "qemu")).toEqual({ uid: 1, gid: 2 });
  expect(readQemuUser("<capabilities><host/></capabilities>", "kvm")).toBeNull();
});
