import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { CapturedHost as HostOfCapture } from "../../agent/host/capture/captured-host.ts";
import { type Capture, parseCapture } from "../../agent/host/capture/format.ts";
import type { HostChannel } from "../../agent/host/host-channel.ts";
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

/** The hosts in test/fixtures/hosts that `fleetgraph agent capture` captured, with devices and programs. */
export type CaptureName = "x86-firecracker-vm" | "x86-q35-numa-iommu" | "x86-q35-bond-sriov-vfio";

/** What `fleetgraph agent capture` wrote on another machine. `change` may alter what is in it first. */
export async function openCapture(name: CaptureName, change: (capture: Capture) => void = () => undefined): Promise<HostChannel> {
  const text = await readFile(new URL(`../fixtures/hosts/${name}/capture.txt`, import.meta.url), "utf8");
  const capture = parseCapture(text);
  change(capture);
  return new HostOfCapture(capture);
}
