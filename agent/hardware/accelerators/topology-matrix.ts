import { AcceleratorLink } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";

/** What `nvidia-smi topo -m` and `npu-smi info -t topo` write between two devices, as the type of a link. */
const TYPES: ReadonlyArray<[RegExp, string]> = [
  [/^NV\d+$/, "NVLink"],
  [/^HCCS/, "HCCS"],
  [/^(?:PIX|PXB|PHB|NODE|PIX_SW)$/, "PCIe"],
  [/^SYS$/, "SYS"],
];
const COLOURS = new RegExp(`${String.fromCharCode(27)}\\[[0-9;]*m`, "g");
const MAX_DEVICES = 256;

/**
 * The links in a matrix with a heading of devices ("GPU0  GPU1  NIC0  CPU Affinity …") and a row for each, every pair once. `ids`: of the devices whose
 * names begin with `prefix`, by their number. Other devices (network cards) are left out.
 */
export function linksInMatrix(text: string, prefix: string, ids: readonly string[]): AcceleratorLink[] {
  const lines = text
    .replace(COLOURS, "")
    .split("\n")
    .slice(0, MAX_DEVICES * 2);
  const name = new RegExp(`^${prefix}(\\d+)$`);
  const heading = lines.findIndex((line) => name.test(line.trim().split(/\s+/)[0] ?? "") && !/\bX\b/.test(line));
  const columns = (lines[heading] ?? "").trim().split(/\s+/);
  const links: AcceleratorLink[] = [];
  for (const line of heading < 0 ? [] : lines.slice(heading + 1)) {
    const [row = "", ...cells] = line.trim().split(/\s+/);
    const from = Number(name.exec(row)?.[1] ?? Number.NaN);
    for (const [at, raw] of cells.entries()) {
      const to = Number(name.exec(columns[at] ?? "")?.[1] ?? Number.NaN);
      const [fromId, toId] = [ids[from], ids[to]];
      if (from < to && fromId !== undefined && toId !== undefined) links.push(linkOf(fromId, toId, raw));
    }
  }
  return links;
}

function linkOf(from: string, to: string, raw: string): AcceleratorLink {
  const type = TYPES.find(([pattern]) => pattern.test(raw))?.[1] ?? raw;
  const lanes = /^NV(\d+)$/.exec(raw)?.[1];
  return AcceleratorLink.fromPartial({ from, to, type, raw, ...(lanes && { lanes: Number(lanes) }) });
}
