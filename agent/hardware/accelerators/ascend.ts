import { AcceleratorVendor } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { tableRows } from "./table.ts";
import { linksInMatrix } from "./topology-matrix.ts";
import {
  leadingNumber,
  mebibytes,
  pciAddress,
  type ToldAccelerator,
  toldAccelerator,
  toldText,
  type VendorProgram,
} from "./vendor-program.ts";

/** Huawei's npu-smi: a table with two rows for each chip, and one of processes. */
export const ASCEND: VendorProgram = {
  vendor: AcceleratorVendor.HUAWEI,
  pciVendorId: 0x19e5,
  commands: [
    { program: "npu-smi", args: ["info"] },
    { program: "/usr/local/sbin/npu-smi", args: ["info"] },
  ],
  topology: { program: "npu-smi", args: ["info", "-t", "topo"] },
  parse(output, topology) {
    if (!/npu-smi/.test(output)) throw new TypeError("npu-smi wrote no table.");
    const rows = tableRows(output);
    const driverVersion = /Version:\s*(\S+)/.exec(output)?.[1];
    const told: ToldAccelerator[] = [];
    /** By "NPU chip", as the processes name them. */
    const chips = new Map<string, ToldAccelerator>();
    for (const [at, row] of rows.entries()) {
      const chip = readChip(row, rows[at + 1] ?? [], told.length, driverVersion);
      if (chip !== null) {
        told.push(chip.told);
        chips.set(chip.key, chip.told);
      }
    }
    for (const row of rows) noteProcess(row, chips);
    const ids = told.map(({ accelerator }) => accelerator.id);
    return { told, links: topology === null ? [] : linksInMatrix(topology, "NPU", ids) };
  },
};

/** "| 0  910B3 | OK | 96.7  32  0 / 0 |" with "| 0 | 0000:C1:00.0 | 0  0 / 0  60056/ 65536 |" below. Null for other rows. */
function readChip(
  [npuAndName = "", health = "", powerAndTemperature = ""]: string[],
  [chipCell = "", busId = "", loads = ""]: string[],
  index: number,
  driverVersion: string | undefined,
): { key: string; told: ToldAccelerator } | null {
  const [, npu, name] = /^(\d+)\s+(\S.*)$/.exec(npuAndName) ?? [];
  const address = pciAddress(busId);
  if (npu === undefined || address === undefined) return null;
  const [power, temperature] = powerAndTemperature.split(/\s+/);
  // Chips with HBM have both; of the others only the first one is told.
  const memory = [...loads.matchAll(/(\d+)\s*\/\s*(\d+)/g)].findLast(([, , total]) => Number(total) > 0);
  const facts = { model: toldText(name), pciAddress: address, driverVersion, memoryTotalBytes: mebibytes(memory?.[2]) };
  const [chip = "0"] = chipCell.split(/\s+/);
  const told = toldAccelerator(AcceleratorVendor.HUAWEI, index, facts, {
    memoryUsedBytes: mebibytes(memory?.[1]),
    utilizationPercent: leadingNumber(loads),
    temperatureCelsius: leadingNumber(temperature),
    powerWatts: leadingNumber(power),
    health: toldText(health),
  });
  // The chips of one card share its address.
  if (chip !== "0") told.accelerator.id = told.sample.id = `${address}/${chip}`;
  return { key: `${npu} ${chip}`, told };
}

/** "| 0       0 | 3329455 | python3 | 56683 |" */
function noteProcess([place = "", pid = "", name = "", memory = ""]: string[], chips: ReadonlyMap<string, ToldAccelerator>): void {
  const chip = chips.get(place.split(/\s+/).join(" "));
  if (chip === undefined || !/^\d+$/.test(pid) || !/^\d+$/.test(memory)) return;
  chip.sample.processes.push({ pid: Number(pid), name: toldText(name), memoryBytes: mebibytes(memory) });
}
