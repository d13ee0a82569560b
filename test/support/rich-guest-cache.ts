import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readdir, readFile, rm, stat, utimes } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { exclusively } from "../../scripts/lib/exclusive.mjs";
import { buildDisk, whole } from "./rich-guest-build.ts";
import { filesIn, type RichGuestFiles } from "./rich-guest-machine.ts";
import { RichGuestProcess } from "./rich-guest-process.ts";
import { RichGuestShell } from "./rich-guest-shell.ts";

const run = promisify(execFile);

/** Outside the clone, by fingerprint of the recipe and of QEMU, whose saved states fit no other version. */
const CACHE = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "fleetgraph", "rich-guest");
const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const RECIPE = path("../fixtures/rich-guest");
/** What the agent may do as root on a host. */
const SUDOERS = path("../../agent/host/fleetgraph.sudoers");
const PROGRAMS = ["build", "cache", "machine"].map((name) => path(`./rich-guest-${name}.ts`));
const NOT_RECIPE = "README.md";
const KEPT = 3;
const FIRST_BOOT_MS = 6 * 60_000;

/**
 * What takes long the first time under emulation, and is in memory or in a cache of the guest after that: libvirt asks its QEMU what it can
 * do, programs are read from the disk.
 */
const NESTED =
  "<domain type='qemu'><name>warm</name><memory unit='MiB'>32</memory><os><type arch='x86_64' machine='q35'>hvm</type></os></domain>";
const WARM_UP = [
  "systemctl is-system-running --wait || systemctl --failed --no-legend",
  "virsh -c qemu:///system capabilities >/dev/null",
  "virsh -c qemu:///system domcapabilities --virttype qemu >/dev/null",
  `virsh -c qemu:///system create --paused /dev/stdin <<<"${NESTED}" && virsh -c qemu:///system destroy warm`,
  "sudo -u fleet virsh -c qemu:///system version >/dev/null",
  "lspci -nn; lsusb; lscpu -J; lsblk -J; ip -j -d address; ethtool -i enp0s4; sudo -u fleet sudo -n smartctl --json -a -n standby /dev/sda",
  "journalctl -n 1; sudo -u fleet sudo -n journalctl --no-pager -n 1",
  "sync",
].map((command) => `(${command}) >/dev/null 2>&1`);

let files: Promise<RichGuestFiles> | undefined;

/** The built guest; the first test that asks on this machine builds it, which takes some minutes. */
export function richGuestFiles(): Promise<RichGuestFiles> {
  files ??= find();
  return files;
}

async function find(): Promise<RichGuestFiles> {
  const directory = join(CACHE, await recipePrint());
  if (!existsSync(directory)) {
    await exclusively(join(CACHE, "build.lock"), async () => {
      if (existsSync(directory)) return;
      await whole(directory, async (folder) => {
        await buildDisk(RECIPE, SUDOERS, folder);
        await saveMachine(filesIn(folder));
      });
      await forgetOld();
    });
  }
  await utimes(directory, new Date(), new Date());
  return filesIn(directory);
}

/** Boots the machine once and keeps it as it runs. */
async function saveMachine(made: RichGuestFiles): Promise<void> {
  await using qemu = await RichGuestProcess.start({ files: made, how: "save" });
  await using shell = await RichGuestShell.open(made, await qemu.sshPort());
  await shell.waitUntilUp(FIRST_BOOT_MS).catch((error: Error) => {
    throw new Error(`${error.message}\n${qemu.problem("did not boot")}`);
  });
  await shell.run(WARM_UP.join("; "), { timeoutMs: FIRST_BOOT_MS });
  await shell.close();
  await qemu.save(made.state);
}

async function recipePrint(): Promise<string> {
  const hash = createHash("sha256").update((await run("qemu-system-x86_64", ["--version"])).stdout);
  const recipe = (await readdir(RECIPE, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile() && entry.name !== NOT_RECIPE)
    .map((entry) => join(entry.parentPath, entry.name));
  for (const file of [...PROGRAMS, SUDOERS, ...recipe.sort()])
    hash.update(`${file.slice(file.lastIndexOf("/"))}\0`).update(await readFile(file));
  return hash.digest("hex").slice(0, 16);
}

async function forgetOld(): Promise<void> {
  const names = (await readdir(CACHE)).filter((name) => /^[0-9a-f]{16}$/.test(name));
  const used = await Promise.all(names.map(async (name) => ({ name, at: (await stat(join(CACHE, name))).mtimeMs })));
  for (const { name } of used.sort((a, b) => b.at - a.at).slice(KEPT)) await rm(join(CACHE, name), { recursive: true, force: true });
}
