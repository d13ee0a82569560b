import type { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import type { DomainReference } from "../../../libvirt/protocol/structures.ts";
import { AFFECT, DOMAIN_XML, METADATA } from "../../../libvirt/values.ts";
import { precondition } from "../../shared/refusals.ts";
import type { Domain } from "../domain-index.ts";
import { isActive } from "../domain-state.ts";
import { attempt, driverError } from "../driver-errors.ts";
import { detachLive } from "../volumes/detach-live.ts";
import { nextPlace } from "../volumes/pci-places.ts";
import { buildXml, type XmlTree } from "../xml.ts";
import { DEVICES_NAMESPACE, DEVICES_PREFIX, type DeviceNote, notesXml, type PciNote } from "./device-notes.ts";
import { type PresentHostDevices, pciElement, readPresent, type UsbSource, usbElement, withUsbController } from "./hostdev-xml.ts";

/** The host's devices in a domain, in its definition and while it runs. Each step does nothing where its work has been done. */
export class DomainDevices {
  readonly #client: LibvirtClient;
  /** For a running guest to let go of a device. */
  readonly #removalMs: number | undefined;

  constructor(client: LibvirtClient, removalMs: number | undefined) {
    this.#client = client;
    this.#removalMs = removalMs;
  }

  async note({ dom, state }: Domain, notes: readonly DeviceNote[], signal: AbortSignal): Promise<void> {
    const flags = isActive(state) ? AFFECT.LIVE | AFFECT.CONFIG : AFFECT.CONFIG;
    const args = { dom, type: METADATA.ELEMENT, metadata: notesXml(notes), key: DEVICES_PREFIX, uri: DEVICES_NAMESPACE, flags };
    try {
      await this.#client.call("domainSetMetadata", args, { signal });
    } catch (error) {
      // There are no notes to be removed.
      if (notes.length > 0 || !LibvirtError.isCode(error, "NO_DOMAIN_METADATA")) throw driverError(error, "note a device");
    }
  }

  /** Whether the guest has it now; false for one that does not run. */
  async isPlugged({ dom, state }: Domain, alias: string, signal: AbortSignal): Promise<boolean> {
    return isActive(state) && (await this.#read(dom, 0, signal)).byAlias.has(alias);
  }

  /** FAILED_PRECONDITION NoFreeSlot, SharedGroup. */
  async plugPci({ dom, state }: Domain, note: PciNote, alias: string, signal: AbortSignal): Promise<void> {
    const views = await this.#views(dom, state, signal);
    const place = nextPlace(
      "interface",
      views.map(({ pci }) => pci),
    );
    await this.#attach(dom, alias, views, pciElement(note, place), signal);
  }

  /** FAILED_PRECONDITION NoUsbController for a guest that runs without one. */
  async plugUsb({ dom, state }: Domain, source: UsbSource, alias: string, signal: AbortSignal): Promise<void> {
    await this.#unplugMoved(dom, state, source, alias, signal);
    if ((await this.#views(dom, state, signal)).some(({ hasUsb }) => !hasUsb)) await this.#addController(dom, state, signal);
    await this.#attach(dom, alias, await this.#views(dom, state, signal), usbElement(source), signal);
  }

  /** The guest first: what it does not let go of stays in the definition. FAILED_PRECONDITION DeviceBusy. */
  async unplug({ dom, state }: Domain, alias: string, signal: AbortSignal): Promise<void> {
    const [config, live] = await this.#views(dom, state, signal);
    if (live?.byAlias.has(alias)) await detachLive(this.#client, dom, alias, signal, this.#removalMs);
    if (config?.byAlias.has(alias)) await this.#detachConfig(dom, alias, signal);
  }

  /** What is in the domain under this alias at another place was plugged in again since. */
  async #unplugMoved(dom: DomainReference, state: number, { bus, device }: UsbSource, alias: string, signal: AbortSignal): Promise<void> {
    const [config, live] = await this.#views(dom, state, signal);
    const isElsewhere = (view: PresentHostDevices | undefined) => {
      const present = view?.byAlias.get(alias);
      return present !== undefined && present.usbPlace !== `${bus}/${device}`;
    };
    if (isElsewhere(live)) await detachLive(this.#client, dom, alias, signal, this.#removalMs);
    if (isElsewhere(config)) await this.#detachConfig(dom, alias, signal);
  }

  async #addController(dom: DomainReference, state: number, signal: AbortSignal): Promise<void> {
    if (isActive(state)) {
      throw precondition("NoUsbController", "This guest was started without USB: stop it, attach the device, and start it again.");
    }
    await attempt("give the domain a USB controller", async () => {
      const flags = DOMAIN_XML.INACTIVE | DOMAIN_XML.SECURE;
      const { xml } = await this.#client.call("domainGetXmlDesc", { dom, flags }, { signal });
      await this.#client.call("domainDefineXmlFlags", { xml: withUsbController(xml) }, { signal });
    });
  }

  async #attach(
    dom: DomainReference,
    alias: string,
    views: readonly PresentHostDevices[],
    hostdev: XmlTree,
    signal: AbortSignal,
  ): Promise<void> {
    const [config, live] = views;
    const flags = (config?.byAlias.has(alias) ? 0 : AFFECT.CONFIG) | (live === undefined || live.byAlias.has(alias) ? 0 : AFFECT.LIVE);
    if (flags === 0) return;
    try {
      await this.#client.call("domainAttachDeviceFlags", { dom, xml: buildXml({ hostdev }), flags }, { signal });
    } catch (error) {
      throw attachError(error, alias);
    }
  }

  async #detachConfig(dom: DomainReference, alias: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#client.call("domainDetachDeviceAlias", { dom, alias, flags: AFFECT.CONFIG }, { signal });
    } catch (error) {
      if (!LibvirtError.isCode(error, "DEVICE_MISSING")) throw driverError(error, `detach ${alias}`);
    }
  }

  /** The definition, and the running domain where it runs. */
  async #views(dom: DomainReference, state: number, signal: AbortSignal): Promise<PresentHostDevices[]> {
    const config = await this.#read(dom, DOMAIN_XML.INACTIVE, signal);
    return isActive(state) ? [config, await this.#read(dom, 0, signal)] : [config];
  }

  async #read(dom: DomainReference, flags: number, signal: AbortSignal): Promise<PresentHostDevices> {
    return readPresent((await attempt("read the domain", () => this.#client.call("domainGetXmlDesc", { dom, flags }, { signal }))).xml);
  }
}

function attachError(error: unknown, alias: string): FleetError {
  const refused = driverError(error, `attach ${alias}`);
  if (/no (more )?(available|free).*(pci|slot)/i.test(refused.message)) {
    return precondition(
      "NoFreeSlot",
      "The machine of this guest has no free slot left for a device while it runs: stop it, and attach it then.",
    );
  }
  if (/group \d+ is not viable|iommu group/i.test(refused.message)) return precondition("SharedGroup", refused.message);
  return refused;
}
