import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exclusively } from "../../scripts/lib/exclusive.mjs";
import { buildTinyGuest } from "./tiny-guest-build.ts";

/**
 * A guest that boots in 3 s under emulation: Debian's cloud kernel and a busybox. What it does is in test/fixtures/tiny-guest.
 * It needs 96 MiB. Its consoles (ttyS0, hvc0) carry a root shell. It prints, one to a line:
 * - on each console FLEETGRAPH-GUEST-DISK NAME BYTES, then FLEETGRAPH-GUEST-READY CMDLINE, when commands can be typed (the prompt is
 *   "guest# ");
 * - FLEETGRAPH-GUEST-SEED DEVICE FILESYSTEM, "seed FILE: LINE", FLEETGRAPH-GUEST-KEY KEY and FLEETGRAPH-GUEST-SEED-END HOSTNAME,
 *   before that, where a disk labelled cidata is there (virtio, SCSI or IDE; the kernel has no driver for SATA);
 * - FLEETGRAPH-GUEST-ADDRESS INTERFACE ADDRESS, some time after a DHCP server answered;
 * - FLEETGRAPH-GUEST-POWEROFF on the power button, unless its command line says guest.deaf.
 * The command `busy SECONDS` loads its processor, first disk and network; so does the word guest.busy=SECONDS on
 * the command line.
 */
export interface TinyGuest {
  kernel: string;
  initrd: string;
  /** A qcow2 of 64 MiB that boots the same guest by BIOS, without a kernel from the host. A base: never write to it. */
  bootDisk: string;
}

/**
 * What the guest's kernel must be told where it is booted directly; on a machine without a serial line put hvc0 for ttyS0. A microVM has
 * one clock to measure the processor's counter by, and under emulation on a busy machine that fails one time in ten: the kernel then
 * hangs before it says anything. So it is told the counter's frequency, which is the host's.
 */
export const GUEST_COMMAND_LINE = `console=ttyS0 quiet${counterFrequency()}`;

/** Outside the clone, by fingerprint of the recipe: it takes a download of 27 MB and several seconds. */
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "fleetgraph", "tiny-guest");
const RECIPE = [new URL("./tiny-guest-build.ts", import.meta.url), new URL("../fixtures/tiny-guest/", import.meta.url)].map((url) =>
  fileURLToPath(url),
);
const KEPT = 3;

function counterFrequency(): string {
  const megahertz = /^cpu MHz\s*: ([\d.]+)/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
  return megahertz === undefined ? "" : ` tsc_early_khz=${Math.round(Number(megahertz) * 1000)}`;
}

let guest: Promise<TinyGuest> | undefined;

/** The files of the guest; they are made by the first test that asks on this machine. */
export function tinyGuest(): Promise<TinyGuest> {
  guest ??= find();
  return guest;
}

async function find(): Promise<TinyGuest> {
  const directory = join(CACHE, await recipePrint());
  if (!existsSync(directory)) {
    await exclusively(join(CACHE, "build.lock"), async () => {
      if (existsSync(directory)) return;
      await buildTinyGuest(RECIPE[1]!, directory);
      await forgetOld();
    });
  }
  await utimes(directory, new Date(), new Date());
  return { kernel: join(directory, "vmlinuz"), initrd: join(directory, "initrd"), bootDisk: join(directory, "boot.qcow2") };
}

async function recipePrint(): Promise<string> {
  const [program, folder] = RECIPE as [string, string];
  const hash = createHash("sha256");
  for (const file of [program, ...(await readdir(folder)).sort().map((name) => join(folder, name))]) {
    hash.update(`${file.slice(file.lastIndexOf("/"))}\0`).update(await readFile(file));
  }
  return hash.digest("hex").slice(0, 16);
}

async function forgetOld(): Promise<void> {
  const names = (await readdir(CACHE)).filter((name) => /^[0-9a-f]{16}$/.test(name));
  const used = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(CACHE, name))).mtimeMs })));
  for (const { name } of used.sort((a, b) => b.at - a.at).slice(KEPT)) await rm(join(CACHE, name), { recursive: true, force: true });
}
