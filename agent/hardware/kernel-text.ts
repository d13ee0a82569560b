import { type HostChannel, HostReadError } from "../host/host-channel.ts";

/** A kernel list such as "0-3,8,10-11" as its numbers; empty for an empty list. */
export function parseCpuList(text: string, path: string): number[] {
  const numbers: number[] = [];
  const trimmed = text.trim();
  if (trimmed === "") return numbers;
  for (const part of trimmed.split(",")) {
    const match = /^(\d+)(?:-(\d+))?$/.exec(part);
    if (!match) throw malformed(path, text);
    const first = Number(match[1]);
    const last = Number(match[2] ?? match[1]);
    if (last < first || last - first > 65_536) throw malformed(path, text);
    for (let number = first; number <= last; number += 1) numbers.push(number);
  }
  return numbers;
}

/** A file that holds one whole number, decimal or with 0x. */
export async function readInteger(host: HostChannel, path: string): Promise<number> {
  const text = (await host.read(path)).trim();
  if (!/^(?:-?\d+|0x[0-9a-f]+)$/i.test(text)) throw malformed(path, text);
  return Number(text);
}

/** The lines "Name:   123 kB" of /proc/meminfo (or a node's meminfo, "Node 0 Name: …") as bytes; lines without a unit as they are. */
export function parseMeminfo(text: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^(?:Node \d+ )?([^:]+):\s+(\d+)( kB)?\s*$/.exec(line);
    if (match?.[1] && match[2]) values.set(match[1], Number(match[2]) * (match[3] ? 1024 : 1));
  }
  return values;
}

/** A value of meminfo, or MALFORMED. */
export function meminfoValue(values: Map<string, number>, name: string, path: string): number {
  const value = values.get(name);
  if (value === undefined) throw new HostReadError("NOT_PRESENT", path, `${path} has no line ${name}.`);
  return value;
}

/** The blocks of /proc/cpuinfo, one map for each logical CPU, names as the kernel writes them. */
export function parseCpuinfo(text: string): Array<Map<string, string>> {
  const cpus: Array<Map<string, string>> = [];
  for (const block of text.split(/\n\s*\n/)) {
    const fields = new Map<string, string>();
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      if (colon > 0) fields.set(line.slice(0, colon).trim(), line.slice(colon + 1).trim());
    }
    if (fields.has("processor")) cpus.push(fields);
  }
  return cpus;
}

export function malformed(path: string, text: string): HostReadError {
  return new HostReadError(
    "MALFORMED",
    path,
    `${path} holds ${JSON.stringify(text.trim().slice(0, 80))}, which is not what is expected there.`,
  );
}
