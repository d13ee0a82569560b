import type { LibvirtClient } from "../../libvirt/client.ts";
import type { DomainReference, DomainStats } from "../../libvirt/protocol/structures.ts";
import type { TypedParameters } from "../../libvirt/protocol/typed-parameters.ts";
import { DOMAIN_STATS, GET_STATS } from "../../libvirt/values.ts";
import type { InstanceSample } from "../instance-driver.ts";
import { isActive } from "./domain-state.ts";
import { attempt } from "./driver-errors.ts";

const STATS =
  DOMAIN_STATS.STATE | DOMAIN_STATS.CPU_TOTAL | DOMAIN_STATS.BALLOON | DOMAIN_STATS.VCPU | DOMAIN_STATS.INTERFACE | DOMAIN_STATS.BLOCK;

/** One call for all of them. Domains that are gone, do not run or are too busy to be asked are left out. */
export async function readSamples(client: LibvirtClient, doms: readonly DomainReference[], signal: AbortSignal): Promise<InstanceSample[]> {
  // To libvirt no domain means every domain.
  if (doms.length === 0) return [];
  const args = { doms, stats: STATS, flags: GET_STATS.NOWAIT };
  const { retStats } = await attempt("read statistics", () => client.call("connectGetAllDomainStats", args, { signal }));
  return retStats.map(sampleOf).filter((sample) => sample !== null);
}

/** Null where figures are missing that a sample cannot do without. */
export function sampleOf({ dom, params }: DomainStats): InstanceSample | null {
  const cpuTimeNs = number(params, "cpu.time");
  if (!isActive(number(params, "state.state") ?? 0) || cpuTimeNs === null || number(params, "block.count") === null) return null;
  return {
    nativeId: dom.uuid,
    cpuTimeNs,
    cpuCores: number(params, "vcpu.current") ?? 1,
    ...memoryOf(params),
    diskReadBytes: sum(params, "block", "rd.bytes"),
    diskWriteBytes: sum(params, "block", "wr.bytes"),
    networkRxBytes: sum(params, "net", "rx.bytes"),
    networkTxBytes: sum(params, "net", "tx.bytes"),
  };
}

/** As the guest counts it, where its balloon driver tells; otherwise what the hypervisor's process takes of the host. libvirt counts in KiB. */
function memoryOf(params: TypedParameters): Pick<InstanceSample, "memoryUsageBytes" | "memoryCacheBytes"> {
  const kib = (name: string) => number(params, `balloon.${name}`);
  const [available, unused, caches, rss] = [kib("available"), kib("unused"), kib("disk_caches"), kib("rss")];
  const used = available !== null && unused !== null ? available - unused : rss;
  return { memoryUsageBytes: used === null ? null : used * 1024, memoryCacheBytes: caches === null ? null : caches * 1024 };
}

function sum(params: TypedParameters, group: "block" | "net", name: string): number {
  let total = 0;
  for (let index = 0; index < (number(params, `${group}.count`) ?? 0); index++) total += number(params, `${group}.${index}.${name}`) ?? 0;
  return total;
}

function number(params: TypedParameters, name: string): number | null {
  const value = params[name];
  return typeof value === "number" ? value : null;
}
