import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { LocalHost } from "../../agent/host/local.ts";

/** The hosts in test/fixtures/hosts. */
export type CapturedHostName = "x86-two-sockets-iommu" | "x86-two-sockets-smt" | "aarch64-two-sockets-numa" | "x86-cloud-vm";

export interface CapturedHost extends AsyncDisposable {
  host: LocalHost;
  /** Holds sys/ and proc/. */
  directory: string;
  /** Writes over one file of the tree, `path` as on the host ("/proc/meminfo"). */
  change(path: string, content: string): Promise<void>;
  remove(path: string): Promise<void>;
}

/** The files that `capture-host.sh` printed on another machine, as files again. */
export async function openCapturedHost(name: CapturedHostName): Promise<CapturedHost> {
  const text = await readFile(new URL(`../fixtures/hosts/${name}/tree.txt`, import.meta.url), "utf8");
  const directory = await mkdtemp(join(tmpdir(), "fleetgraph-host-"));
  const write = async (path: string, content: string) => {
    await mkdir(dirname(join(directory, path)), { recursive: true });
    await writeFile(join(directory, path), content);
  };
  for (const part of text.split(/^==> /m).slice(1)) {
    const end = part.indexOf(" <==\n");
    const path = part.slice(0, end);
    if (path.endsWith("/")) await mkdir(join(directory, path), { recursive: true });
    else await write(path, part.slice(end + " <==\n".length));
  }
  return {
    host: new LocalHost({ sysRoot: join(directory, "sys"), procRoot: join(directory, "proc") }),
    directory,
    change: write,
    remove: (path) => rm(join(directory, path), { recursive: true }),
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}
