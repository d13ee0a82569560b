import type { HugePageUsage } from "../../schema/generated/proto/hypervisor/v1/agent.ts";
import type { HostChannel } from "../host/host-channel.ts";
import { readInteger } from "./kernel-text.ts";
import type { Unavailable } from "./unavailable.ts";

const DIRECTORY = "/sys/kernel/mm/hugepages";

export const HUGE_PAGES_PATHS = [DIRECTORY, `${DIRECTORY}/*/nr_hugepages`, `${DIRECTORY}/*/free_hugepages`];

/**
 * Every size of huge page that the kernel offers, smallest first, also where none is set aside. A size that cannot be read is
 * left out and noted. Throws HostReadError on a kernel without huge pages.
 */
export async function readHugePages(host: HostChannel, unavailable: Unavailable): Promise<HugePageUsage[]> {
  const sizes: HugePageUsage[] = [];
  for (const name of await host.list(DIRECTORY)) {
    const match = /^hugepages-(\d+)kB$/.exec(name);
    if (!match) continue;
    const usage = await unavailable.attempt("hugePages", async () => ({
      sizeBytes: Number(match[1]) * 1024,
      total: await readInteger(host, `${DIRECTORY}/${name}/nr_hugepages`),
      free: await readInteger(host, `${DIRECTORY}/${name}/free_hugepages`),
    }));
    if (usage) sizes.push(usage);
  }
  return sizes.sort((a, b) => a.sizeBytes - b.sizeBytes);
}
