import { readFile } from "node:fs/promises";
import { CapturedHost } from "../../agent/host/capture/captured-host.ts";
import { type Capture, type CapturedEntry, commandKey, parseCapture } from "../../agent/host/capture/format.ts";
import type { HostCommand } from "../../agent/host/host-channel.ts";

const FIXTURES = new URL("../fixtures/network-and-disks/", import.meta.url);

/** A glob's star ends at a slash. */
const EVERYTHING = Array.from({ length: 12 }, (_, depth) => "/*".repeat(depth + 1));

/** The rich guest with a bond, a VLAN, a bridge and partitions, as it was captured; `change` alters what was read before it is opened. */
export async function openRichGuestCapture(change: (capture: Capture) => void = () => {}): Promise<CapturedHost> {
  const capture = parseCapture(await readFile(new URL("rich-guest.capture", FIXTURES), "utf8"));
  change(capture);
  return new CapturedHost(capture);
}

/** A link to a folder. */
export interface LinkedFolder {
  link: string;
  names: string[];
}

/** Only what is named here: links ("-> TARGET"), folders (a list of names), both in one, and files by their paths; everything else is not there. */
export function hostOf(
  tree: Record<string, string | string[] | LinkedFolder>,
  commands: Array<HostCommand & { stdout: string; exitCode?: number }> = [],
): CapturedHost {
  const capture: Capture = { architecture: "x86_64", paths: EVERYTHING, entries: new Map(), commands: new Map() };
  for (const [path, value] of Object.entries(tree)) {
    capture.entries.set(path, entryOf(value));
  }
  for (const { program, args, stdout, exitCode = 0 } of commands) {
    const command = { program, args, privileged: false };
    capture.commands.set(commandKey(command), { command, exitCode, stdout, stderr: "" });
  }
  return new CapturedHost(capture);
}

function entryOf(value: string | string[] | LinkedFolder): CapturedEntry {
  if (Array.isArray(value)) return { names: value };
  if (typeof value === "object") return value;
  return value.startsWith("-> ") ? { link: value.slice("-> ".length) } : { content: value };
}

/** What smartctl wrote: "smartctl/nvme", "smartctl-documented/sas". */
export function smartctlOutput(name: string): Promise<string> {
  return readFile(new URL(`${name}.json`, FIXTURES), "utf8");
}
