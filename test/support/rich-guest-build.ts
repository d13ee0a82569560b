import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const DISK_BYTES = 3 * 1024 ** 3;
const DEADLINE_MS = 8 * 60_000;
/** Debian's stable release when the recipe was written: QEMU and libvirt in the guest are those of the tests' hosts. */
const RELEASE = "bookworm";
const LEFT_OUT = ["doc", "info", "locale", "man"];

/** Makes the machine's disk, kernel and keys in `target`. `recipe` is test/fixtures/rich-guest, `sudoers` a file. Needs root. */
export async function buildDisk(recipe: string, sudoers: string, target: string): Promise<void> {
  const out = (name: string) => join(target, name);
  const root = out("root");
  await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", out("identity")]);
  const passwords = { root: randomBytes(9).toString("hex"), fleet: randomBytes(9).toString("hex") };
  await writeFile(out("passwords.json"), JSON.stringify(passwords), { mode: 0o600 });
  await makeRoot(recipe, root, {
    RECIPE: recipe,
    SUDOERS: sudoers,
    USER_KEY: (await readFile(out("identity.pub"), "utf8")).trim(),
    ROOT_PASSWORD: passwords.root,
    FLEET_PASSWORD: passwords.fleet,
  });
  const boot = await readdir(join(root, "boot"));
  const booted = (prefix: string) => {
    const name = boot.find((file) => file.startsWith(prefix));
    if (name === undefined) throw new Error(`mmdebstrap left no ${prefix}* in /boot`);
    return join(root, "boot", name);
  };
  await copyFile(booted("vmlinuz-"), out("vmlinuz"));
  await copyFile(booted("small.img"), out("initrd"));
  await copyFile(join(root, "etc/ssh/ssh_host_ed25519_key.pub"), out("host_key.pub"));
  await writeFile(out("disk.raw"), "");
  await truncate(out("disk.raw"), DISK_BYTES);
  await run("mke2fs", ["-q", "-t", "ext4", "-m", "0", "-d", root, out("disk.raw")], { timeout: DEADLINE_MS });
  await rm(root, { recursive: true });
}

async function makeRoot(recipe: string, root: string, environment: Record<string, string>): Promise<void> {
  const packages = (await readFile(join(recipe, "packages"), "utf8")).trim().split("\n");
  const args = [
    ...["--variant=apt", "--format=directory", `--include=${packages.join(",")}`],
    ...LEFT_OUT.map((name) => `--dpkgopt=path-exclude=/usr/share/${name}/*`),
    ...["--dpkgopt=force-confold", "--dpkgopt=force-unsafe-io"],
    ...['--aptopt=Apt::Install-Recommends "false"', '--aptopt=Acquire::Check-Valid-Until "false"'],
    // Before the packages, which find their settings there.
    '--essential-hook=cp -r "$RECIPE/files/." "$1"',
    '--customize-hook=cp "$RECIPE/customize" "$RECIPE/init" "$1" && cp "$SUDOERS" "$1/sudoers" && chroot "$1" /customize && rm "$1/customize" "$1/init" "$1/sudoers"',
    ...[RELEASE, root],
  ];
  await run("mmdebstrap", args, { env: { ...process.env, ...environment }, timeout: DEADLINE_MS, maxBuffer: 16 * 1024 * 1024 });
}

/** Makes `target` by `make`, which gets another folder to work in: it appears only once it is whole. */
export async function whole(target: string, make: (folder: string) => Promise<void>): Promise<void> {
  const work = `${target}.partial`;
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true, mode: 0o700 });
  try {
    await make(work);
    await rename(work, target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}
