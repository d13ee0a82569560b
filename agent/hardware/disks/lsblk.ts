import { z } from "zod";
import { type HostChannel, type HostCommand, HostReadError } from "../../host/host-channel.ts";

export const LSBLK: HostCommand = { program: "lsblk", args: ["-J", "-b", "-O"] };

const MAX_ENTRIES = 16_384;

const text = z
  .string()
  .transform((value) => value.trim() || undefined)
  .optional()
  .catch(undefined);
/** Older ones write numbers as strings. */
const bytes = z
  .union([z.number(), z.string().regex(/^\d+$/).transform(Number)])
  .optional()
  .catch(undefined);

const entry = z.object({
  kname: z.string(),
  ...{ model: text, serial: text, rev: text, wwn: text },
  ...{ fstype: text, label: text, uuid: text, fssize: bytes, fsavail: bytes },
  ...{ parttypename: text, parttype: text, partlabel: text, partuuid: text },
  children: z.array(z.unknown()).optional().catch(undefined),
});

/** What udev and libblkid know of a block device. */
export type LsblkEntry = Omit<z.infer<typeof entry>, "children">;

/** By the kernel's name. Throws HostReadError where there is no `lsblk`, or one that does not write JSON (util-linux before 2.27). */
export async function readLsblk(host: HostChannel): Promise<Map<string, LsblkEntry>> {
  const { exitCode, stdout, stderr } = await host.exec(LSBLK);
  // 64: of some devices it could tell nothing.
  if (exitCode !== 0 && exitCode !== 64) {
    throw new HostReadError("NOT_SUPPORTED", "lsblk", `\`lsblk -J -b -O\` does not work here: ${stderr.trim().slice(0, 200)}`);
  }
  const entries = new Map<string, LsblkEntry>();
  const waiting = devicesIn(stdout);
  for (const candidate of waiting) {
    const { success, data } = entry.safeParse(candidate);
    if (!success) continue;
    const { children = [], ...own } = data;
    entries.set(own.kname, own);
    if (waiting.length + children.length <= MAX_ENTRIES) waiting.push(...children);
  }
  return entries;
}

function devicesIn(output: string): unknown[] {
  try {
    return z.object({ blockdevices: z.array(z.unknown()) }).parse(JSON.parse(output)).blockdevices;
  } catch (error) {
    throw new HostReadError("MALFORMED", "lsblk", "`lsblk -J -b -O` wrote something else than its JSON.", error);
  }
}
