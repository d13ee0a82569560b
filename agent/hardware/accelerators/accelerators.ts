import {
  Accelerator,
  type AcceleratorInventory,
  type AcceleratorUsage,
  AcceleratorVendor,
  PciKind,
} from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import type { HostChannel, HostNeeds } from "../../host/host-channel.ts";
import { readInteger } from "../kernel-text.ts";
import { pciKind } from "../pci/kind.ts";
import { ifPresent, mapBounded } from "../read-optional.ts";
import { countOf, linkOf, namesIn } from "../sysfs.ts";
import { Unavailable } from "../unavailable.ts";
import { askVendors, VENDOR_PROGRAMS, type VendorAnswer } from "./vendor-answers.ts";
import type { ToldAccelerator } from "./vendor-program.ts";

const PCI_DEVICES = "/sys/bus/pci/devices";
const MAX_DEVICES = 4096;
const AT_ONCE = 64;

export const ACCELERATOR_NEEDS: HostNeeds = {
  paths: [PCI_DEVICES, ...["class", "vendor", "numa_node", "physfn"].map((file) => `${PCI_DEVICES}/*/${file}`)],
  commands: VENDOR_PROGRAMS.flatMap(({ commands, topology }) => [...commands, ...(topology === null ? [] : [topology])]),
};

interface PciAccelerator {
  address: string;
  vendorId: number;
  numaNode: number | undefined;
  isVirtualFunction: boolean;
}

/**
 * The host's GPUs and accelerators: what the vendors' programs tell, and those on the PCI bus of which none tells, with the reason. Never throws
 * for what cannot be read.
 */
export async function readAccelerators(host: HostChannel): Promise<AcceleratorInventory> {
  const unavailable = new Unavailable();
  const [onBus = [], answers] = await Promise.all([
    unavailable.attempt("accelerators", () => pciAccelerators(host)),
    askVendors(host, { topology: true }),
  ]);
  const byAddress = new Map(onBus.map((device) => [device.address, device]));
  const told = toldBy(answers);
  const accelerators: Accelerator[] = told.map(({ accelerator }) => ({
    ...accelerator,
    numaNode: accelerator.numaNode ?? byAddress.get(accelerator.pciAddress ?? "")?.numaNode,
  }));
  const seen = new Set(accelerators.map(({ pciAddress }) => pciAddress));
  for (const device of onBus) {
    if (seen.has(device.address) || device.isVirtualFunction) continue;
    const { vendor, failure } = whoseItIs(device.vendorId, answers);
    for (const field of ["model", "memoryTotalBytes"]) {
      unavailable.add(`accelerators[${accelerators.length}].${field}`, failure.reason, failure.message);
    }
    accelerators.push(Accelerator.fromPartial({ id: device.address, pciAddress: device.address, vendor, numaNode: device.numaNode }));
  }
  const present = new Set(accelerators.map(({ id }) => id));
  const links = answers.flatMap((answer) => ("report" in answer ? answer.report.links : []));
  return { accelerators, links: links.filter(({ from, to }) => present.has(from) && present.has(to)), unavailable: unavailable.fields };
}

/** What the vendors' programs say now. Never throws for what cannot be read. */
export async function readAcceleratorUsage(host: HostChannel): Promise<AcceleratorUsage> {
  const unavailable = new Unavailable();
  const answers = await askVendors(host, { topology: false });
  for (const answer of answers) {
    // One that is not installed has nothing to say: its cards are not driven here.
    if ("failure" in answer && answer.failure.reason !== "NOT_INSTALLED") {
      unavailable.add("samples", answer.failure.reason, answer.failure.message);
    }
  }
  return { observedAt: new Date(), samples: toldBy(answers).map(({ sample }) => sample), unavailable: unavailable.fields };
}

/** Two programs may tell of the same card (hy-smi and rocm-smi): the first one counts. */
function toldBy(answers: readonly VendorAnswer[]): ToldAccelerator[] {
  const told: ToldAccelerator[] = [];
  const known = new Set<string>();
  for (const answer of answers) {
    const own = "report" in answer ? answer.report.told.filter((one) => !known.has(placeOf(one)) && !known.has(one.accelerator.id)) : [];
    told.push(...own);
    for (const one of own) known.add(placeOf(one)).add(one.accelerator.id);
  }
  return told;
}

function placeOf({ accelerator }: ToldAccelerator): string {
  return accelerator.pciAddress ?? accelerator.id;
}

/** The vendor of a device, and why its program does not tell of it. */
function whoseItIs(vendorId: number, answers: readonly VendorAnswer[]) {
  const answer = answers.find(({ program }) => program.pciVendorId === vendorId);
  if (answer === undefined) {
    const message = "There is no program that tells of this vendor's cards.";
    return { vendor: AcceleratorVendor.OTHER, failure: { reason: "NOT_SUPPORTED" as const, message } };
  }
  const { vendor, commands } = answer.program;
  if ("failure" in answer) return { vendor, failure: answer.failure };
  // Bound to vfio-pci, or given to a guest.
  const message = `${commands[0]?.program} does not tell of it: its driver is not bound to it.`;
  return { vendor, failure: { reason: "NOT_PRESENT" as const, message } };
}

async function pciAccelerators(host: HostChannel): Promise<PciAccelerator[]> {
  const addresses = ((await ifPresent(host.list(PCI_DEVICES))) ?? []).slice(0, MAX_DEVICES);
  const devices = await mapBounded(addresses, AT_ONCE, async (address) => {
    const path = `${PCI_DEVICES}/${address}`;
    const vendorId = await readInteger(host, `${path}/vendor`);
    const kind = pciKind(await readInteger(host, `${path}/class`), vendorId);
    if (kind !== PciKind.GPU && kind !== PciKind.ACCELERATOR) return null;
    const isVirtualFunction = (await linkOf(host, `${path}/physfn`)) !== undefined || (await namesIn(host, `${path}/physfn`)).length > 0;
    return { address, vendorId, numaNode: await countOf(host, `${path}/numa_node`), isVirtualFunction };
  });
  return devices.filter((device) => device !== null);
}
