import { execFile } from "node:child_process";
import { chmod, copyFile, mkdir, readdir, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const DISK_BYTES = 64 * 1024 * 1024;
/** Of the recipe's files, those that are no programs in the guest. */
const NOT_PROGRAMS = new Set(["modules", "syslinux.cfg", "init", "power-button"]);

/** Makes vmlinuz, initrd and boot.qcow2 in `target`, which appears only once it is whole. `recipe` is test/fixtures/tiny-guest. */
export async function buildTinyGuest(recipe: string, target: string): Promise<void> {
  const work = `${target}.partial`;
  await rm(work, { recursive: true, force: true });
  await mkdir(join(work, "out"), { recursive: true });
  try {
    const kernel = await fetchKernel(work);
    const out = (name: string) => join(work, "out", name);
    await copyFile(kernel.image, out("vmlinuz"));
    await packInitrd(recipe, kernel.modules, join(work, "root"), out("initrd"));
    await makeBootDisk(recipe, work, out);
    await rename(join(work, "out"), target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Debian's kernel for virtual machines, unpacked but not installed. */
async function fetchKernel(work: string): Promise<{ image: string; modules: string }> {
  const name = async () =>
    /Depends: (linux-image-\S+)/.exec(
      (await run("apt-cache", ["depends", "linux-image-cloud-amd64"]).catch(() => ({ stdout: "" }))).stdout,
    )?.[1];
  let found = await name();
  const download = async () => {
    if (found === undefined) throw new Error("apt-cache knows no linux-image-cloud-amd64");
    await run("apt-get", ["download", "--quiet", found], { cwd: work });
  };
  try {
    await download();
  } catch {
    await run("apt-get", ["update", "--quiet"]);
    found = await name();
    await download();
  }
  const archive = (await readdir(work)).find((file) => file.endsWith(".deb"));
  if (archive === undefined) throw new Error("apt-get download left no package");
  const root = join(work, "package");
  await run("dpkg", ["-x", join(work, archive), root]);
  const image = (await readdir(join(root, "boot"))).find((file) => file.startsWith("vmlinuz-"));
  if (image === undefined) throw new Error(`${archive} holds no kernel`);
  return { image: join(root, "boot", image), modules: join(root, "lib/modules", image.slice("vmlinuz-".length)) };
}

async function packInitrd(recipe: string, modules: string, root: string, target: string): Promise<void> {
  for (const folder of ["bin", "modules", "etc/acpi/PWRF"]) await mkdir(join(root, folder), { recursive: true });
  const install = async (name: string, path: string) => {
    await copyFile(join(recipe, name), join(root, path));
    await chmod(join(root, path), 0o755);
  };
  await install("init", "init");
  // The key's number in acpid's built-in table.
  await install("power-button", "etc/acpi/PWRF/00000080");
  for (const name of await readdir(recipe)) if (!NOT_PROGRAMS.has(name)) await install(name, `bin/${name}`);
  await copyFile("/bin/busybox", join(root, "bin/busybox"));
  await chmod(join(root, "bin/busybox"), 0o755);

  const wanted = (await readFile(join(recipe, "modules"), "utf8")).trim().split("\n");
  const order = await withDependencies(wanted, modules);
  for (const file of order) await copyFile(file, join(root, "modules", basename(file)));
  await writeFile(join(root, "modules/order"), order.map((file) => `${basename(file, ".ko")}\n`).join(""));

  await run("sh", ["-c", 'cd "$1" && find . | sort | cpio --quiet -o -H newc -R 0:0 >"$2"', "sh", root, target]);
}

/** The modules' files, each behind those that it needs. */
async function withDependencies(wanted: string[], folder: string): Promise<string[]> {
  const files = new Map<string, string>();
  for (const path of await readdir(folder, { recursive: true })) {
    if (path.endsWith(".ko")) files.set(basename(path, ".ko").replaceAll("-", "_"), join(folder, path));
  }
  const order = new Set<string>();
  const add = async (name: string) => {
    const file = files.get(name.replaceAll("-", "_"));
    if (file === undefined) throw new Error(`The kernel has no module ${name}`);
    if (order.has(file)) return;
    // In the module's own header, as modinfo shows it.
    const needs = /\0depends=([^\0]*)\0/.exec(await readFile(file, "latin1"))?.[1] ?? "";
    for (const need of needs.split(",").filter((word) => word !== "")) await add(need);
    order.add(file);
  };
  for (const name of wanted) await add(name);
  return [...order];
}

/** A FAT file system with a boot loader, without mounting anything. */
async function makeBootDisk(recipe: string, work: string, out: (name: string) => string): Promise<void> {
  const raw = join(work, "boot.raw");
  await writeFile(raw, "");
  await truncate(raw, DISK_BYTES);
  const sectors = String(DISK_BYTES / 512);
  await run("mformat", ["-i", raw, "-v", "FLEETGRAPH", "-T", sectors, "-h", "16", "-s", "63", "::"]);
  await run("syslinux", ["--install", raw]);
  await run("mcopy", ["-i", raw, out("vmlinuz"), out("initrd"), join(recipe, "syslinux.cfg"), "::"]);
  await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", raw, out("boot.qcow2")]);
}
