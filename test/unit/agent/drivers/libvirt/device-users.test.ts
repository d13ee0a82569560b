import { describe, expect, it } from "vitest";
import { poolSourcesIn, usersOf } from "../../../../../agent/drivers/libvirt/device-users.ts";
import { readDomainXml } from "../../../../../agent/drivers/libvirt/domain-facts.ts";
import { MARK_NAMESPACE } from "../../../../../agent/drivers/libvirt/domain-mark.ts";

describe("what libvirt's domains have of the host", () => {
  it("is PCI devices, whether they are hostdevs, interfaces or NVMe disks", () => {
    const { pci } = usersOf([
      domain(`
        <hostdev mode='subsystem' type='pci' managed='yes'>
          <source><address domain='0x0000' bus='0xc1' slot='0x1f' function='0x7'/></source>
          <address type='pci' domain='0x0000' bus='0x05' slot='0x00' function='0x0'/>
        </hostdev>
        <interface type='hostdev'><source><address type='pci' domain='0x0001' bus='0x02' slot='0x10' function='0x0'/></source></interface>
        <disk type='nvme' device='disk'>
          <source type='pci' managed='yes' namespace='1'><address domain='0x0000' bus='0x03' slot='0x00' function='0x0'/></source>
        </disk>`),
    ]);
    expect([...pci.keys()]).toEqual(["0000:c1:1f.7", "0001:02:10.0", "0000:03:00.0"]);
  });

  it("is USB devices by their place while a guest runs, and by what they are before", () => {
    const { usb } = usersOf([
      domain(`<hostdev mode='subsystem' type='usb'>
        <source><vendor id='0x46d'/><product id='0xC52B'/><address bus='1' device='4'/></source></hostdev>
        <hostdev mode='subsystem' type='usb'><source><vendor id='0x0627'/><product id='1'/></source></hostdev>`),
    ]);
    expect([...usb.keys()]).toEqual(["1/4", "0627:0001"]);
  });

  it("is taps, and nothing of mediated or SCSI devices", () => {
    const { interfaces, pci, usb } = usersOf([
      domain(`<interface type='network'><source network='default'/><target dev='vnet3'/></interface>
        <interface type='user'><mac address='52:54:00:00:00:01'/></interface>
        <hostdev mode='subsystem' type='mdev'><source><address uuid='c2177883-f1bb-47f0-914d-32a22e3a8804'/></source></hostdev>
        <hostdev mode='capabilities' type='storage'><source><block>/dev/sdb</block></source></hostdev>`),
    ]);
    expect([...interfaces.keys()]).toEqual(["vnet3"]);
    expect([...pci.keys(), ...usb.keys()]).toEqual([]);
  });

  it("names instances of ours by their id, and guests of others by their name; the first one counts", () => {
    const device = `<hostdev mode='subsystem' type='pci'><source><address bus='1' slot='0' function='0'/></source></hostdev>`;
    const mark = `<metadata><fg:instance xmlns:fg='${MARK_NAMESPACE}' id='inst-1' node='node-1' generation='2'>{}</fg:instance></metadata>`;
    expect(usersOf([domain(device, mark), domain(device)]).pci.get("0000:01:00.0")).toEqual({ instanceId: "inst-1", guestName: "guest" });
    expect(usersOf([domain(device)]).pci.get("0000:01:00.0")).toEqual({ instanceId: "", guestName: "guest" });
  });

  it("leaves out addresses that are none", () => {
    const source = (address: string) => `<hostdev mode='subsystem' type='pci'><source>${address}</source></hostdev>`;
    const { pci } = usersOf([domain(source("<address bus='0x01' slot='zero'/>") + source("<address bus='0x01'/>") + source(""))]);
    expect(pci.size).toBe(0);
  });
});

describe("what a storage pool stands on", () => {
  it("is its folder, without the slash at its end", () => {
    const xml = "<pool type='dir'><name>images</name><target><path>/srv/images/</path></target></pool>";
    expect(poolSourcesIn(xml)).toEqual({ name: "images", sources: ["/srv/images"] });
    expect(poolSourcesIn("<pool type='dir'><name>all</name><target><path>/</path></target></pool>").sources).toEqual(["/"]);
  });

  it("is the devices of a volume group, and nothing for a pool on the network", () => {
    const vg = `<pool type='logical'><name>vg</name><source><device path='/dev/sdb1'/><device path='/dev/sdc'/><name>vg</name></source>
      <target><path>/dev/vg</path></target></pool>`;
    expect(poolSourcesIn(vg).sources).toEqual(["/dev/sdb1", "/dev/sdc", "/dev/vg"]);
    const rbd = "<pool type='rbd'><name>ceph</name><source><name>rbdpool</name><host name='mon'/></source></pool>";
    expect(poolSourcesIn(rbd)).toEqual({ name: "ceph", sources: [] });
  });
});

function domain(devices: string, metadata = "") {
  return readDomainXml(`<domain type='kvm'><name>guest</name><uuid>6a1f0d1e-0b7f-4b3a-9a39-5d7c1f1d0001</uuid>${metadata}
    <memory unit='KiB'>1024</memory><vcpu>1</vcpu><os><type machine='q35'>hvm</type></os><devices>${devices}</devices></domain>`);
}
