import { AcceleratorVendor } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { tableRows } from "./table.ts";
import {
  leadingNumber,
  mebibytes,
  pciAddress,
  type ToldAccelerator,
  toldAccelerator,
  toldText,
  type VendorProgram,
} from "./vendor-program.ts";

/** Cambricon's cnmon: a table with two rows for each card. Before version 5 it tells no PCI addresses. */
export const CAMBRICON: VendorProgram = {
  vendor: AcceleratorVendor.CAMBRICON,
  pciVendorId: 0xcabc,
  commands: [{ program: "cnmon", args: [] }],
  topology: null,
  parse(output) {
    if (!/CNMON/.test(output)) throw new TypeError("cnmon wrote no table.");
    const rows = tableRows(output);
    const driverVersion = /Driver\s+(v[\d.]+)/.exec(output)?.[1];
    return { told: rows.flatMap((row, at) => readCard(row, rows[at + 1] ?? [], driverVersion) ?? []), links: [] };
  },
};

/** "| 0  /  MLU370-X8  v1.1.6 | 0000:39:00.0 | 0%  N/A |" with "| 0%  32C  106 W/ 250 W | 0 MiB/ 23374 MiB | N/A  Default |" below. */
function readCard(
  [card = "", place = "", loads = ""]: string[],
  [measured = "", memory = ""]: string[],
  driverOfAll: string | undefined,
): ToldAccelerator | null {
  const [, index, name, firmware] = /^(\d+)\s+\S+\s+(\S+)\s+(v\S+)$/.exec(card) ?? [];
  if (index === undefined) return null;
  const [, power, limit] = /(\d+(?:\.\d+)?)\s*W\s*\/\s*(\d+(?:\.\d+)?)\s*W/.exec(measured) ?? [];
  const [, used, total] = /(\d+)\s*MiB\s*\/\s*(\d+)\s*MiB/.exec(memory) ?? [];
  const facts = {
    model: toldText(name),
    pciAddress: pciAddress(place),
    driverVersion: driverOfAll ?? /\b(v[\d.]+)$/.exec(place)?.[1],
    firmwareVersion: toldText(firmware),
    memoryTotalBytes: mebibytes(total),
  };
  return toldAccelerator(AcceleratorVendor.CAMBRICON, Number(index), facts, {
    memoryUsedBytes: mebibytes(used),
    utilizationPercent: leadingNumber(loads),
    temperatureCelsius: leadingNumber(/(\d+)\s*C\b/.exec(measured)?.[1]),
    powerWatts: leadingNumber(power),
    powerLimitWatts: leadingNumber(limit),
  });
}
