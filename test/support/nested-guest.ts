import type { InstanceDriver } from "../../agent/drivers/instance-driver.ts";
import { readDeviceUsers } from "../../agent/drivers/libvirt/device-users.ts";
import { LibvirtDevices } from "../../agent/drivers/libvirt/devices/libvirt-devices.ts";
import { DomainIndex } from "../../agent/drivers/libvirt/domain-index.ts";
import { MARK_NAMESPACE, MARK_PREFIX, markXml } from "../../agent/drivers/libvirt/domain-mark.ts";
import { openDistantDrivers } from "../../agent/drivers/open-drivers.ts";
import type { HostChannel } from "../../agent/host/host-channel.ts";
import { LibvirtClient } from "../../agent/libvirt/client.ts";
import type { DomainReference } from "../../agent/libvirt/protocol/structures.ts";
import { AFFECT, METADATA } from "../../agent/libvirt/values.ts";
import type { Logger } from "../../platform/observability/log.ts";
import { until } from "./until.ts";

/** As the agent's domains are, but small. `usb`: the model of its controller; "none" as domains had it once. */
function domainXml(name: string, usb: string): string {
  const ports = [1, 2, 3, 4, 5, 6].map((index) => `<controller type='pci' index='${index}' model='pcie-root-port'/>`);
  return `<domain type='qemu'><name>${name}</name><memory unit='MiB'>48</memory><vcpu>1</vcpu>
    <os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
    <devices><controller type='usb' model='${usb}'/>${ports.join("")}<memballoon model='none'/></devices></domain>`;
}

/** What an agent does with such guests, whole. `stateDir`: a folder of the test's. */
export async function openNestedDriver(host: HostChannel, stateDir: string, log: Logger): Promise<InstanceDriver> {
  const directory = "/var/lib/libvirt/images";
  const { drivers } = await openDistantDrivers(
    {
      ...{
        libvirtUri: null,
        containerSocket: "none",
        imageDir: directory,
        instanceDir: `${directory}/fleetgraph`,
        ssdDir: null,
        hddDir: null,
      },
      ...{ imageUrls: [], imageLimits: null, mountRoots: [], poolRoots: [], publicNetwork: null, securityGroupsFile: null },
      ...{ adoption: true, stateDir },
    },
    { uri: "qemu:///system", host, stateDir },
    log,
    async () => null,
  );
  const [driver] = drivers;
  if (driver === undefined) throw new Error("There is no driver for VMs.");
  await until(() => driver.available, "the host's libvirt", 120_000);
  return driver;
}

/** Guests without any system on another machine's libvirt, as instances of its agent, and the devices that they have of that machine. */
export class NestedGuests implements AsyncDisposable {
  readonly client: LibvirtClient;
  readonly devices: LibvirtDevices;
  readonly #index: DomainIndex;

  constructor(host: HostChannel, log: Logger) {
    this.client = LibvirtClient.open({ uri: "qemu:///system", host, log });
    const index = new DomainIndex(this.client, log);
    const users = (signal: AbortSignal) => readDeviceUsers(this.client, index, signal);
    this.#index = index;
    this.devices = new LibvirtDevices({ client: this.client, index, host, users, removalMs: 5000, log });
  }

  async define(instanceId: string, usb = "qemu-xhci"): Promise<DomainReference> {
    const { dom } = await this.client.call("domainDefineXmlFlags", { xml: domainXml(instanceId, usb) });
    const metadata = markXml({ instanceId, nodeId: "node-1", generation: 1 });
    const mark = { dom, type: METADATA.ELEMENT, metadata, key: MARK_PREFIX, uri: MARK_NAMESPACE, flags: AFFECT.CONFIG };
    await this.client.call("domainSetMetadata", mark);
    return dom;
  }

  /** Runs until its firmware has found what is on the PCI buses, and stands still then. */
  async startPaused(dom: DomainReference, start?: () => Promise<void>): Promise<void> {
    if (start !== undefined) await start();
    else await this.client.call("domainCreateWithFlags", { dom }, { timeoutMs: 120_000 });
    await until(async () => (await this.qmp(dom, "query-pci")).includes('"secondary":1'), "the firmware", 120_000);
    await this.client.call("domainSuspend", { dom });
    this.#index.drop(dom.uuid);
  }

  async powerOff(dom: DomainReference): Promise<void> {
    await this.client.call("domainDestroyFlags", { dom }, { timeoutMs: 60_000 });
  }

  /** What its QEMU answers. */
  async qmp(dom: DomainReference, execute: string, args: Record<string, unknown> = {}): Promise<string> {
    const cmd = JSON.stringify({ execute, arguments: args });
    return (await this.client.call("domainQemuMonitorCommand", { dom, cmd })).result;
  }

  async find(instanceId: string) {
    const domain = await this.#index.find({ instanceId }, AbortSignal.timeout(60_000));
    if (domain === null) throw new Error(`There is no ${instanceId}.`);
    return domain;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}
