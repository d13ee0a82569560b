import { execFile } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { LibvirtClient } from "../../agent/libvirt/client.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { LibvirtDaemon } from "../support/libvirt-daemon.ts";
import { percentile } from "../support/statistics.ts";

/**
 * What libvirt costs the agent: `node test/bench/libvirt.ts`, as root. Latency of a list beside `virsh list` as a subprocess; with 200
 * domains on the test driver, CPU per lifecycle event and per reading of all statistics. Each figure is the median of five runs.
 */
const RUNS = 5;
const DOMAINS = 200;
const CALLS = 500;
const log = createLogger({ name: "bench", level: "error" });
const LIST_ALL = { needResults: true, flags: 0 };

const daemon = await LibvirtDaemon.start();
try {
  await listLatency(daemon.uri());
  await listLatency(daemon.uri("test:///default"));
  await manyDomains(daemon.uri("test:///default"));
} finally {
  await daemon.close();
}

async function listLatency(uri: string): Promise<void> {
  const client = LibvirtClient.open({ uri, log });
  const medians: number[] = [];
  const cpu: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    const took: number[] = [];
    const before = process.cpuUsage();
    for (let call = 0; call < CALLS; call += 1) {
      const began = performance.now();
      await client.call("connectListAllDomains", LIST_ALL);
      took.push(performance.now() - began);
    }
    cpu.push(cpuMs(before) / CALLS);
    medians.push(percentile(took, 0.5));
  }
  await client.close();
  const virsh: number[] = [];
  for (let call = 0; call < 20; call += 1) {
    const began = performance.now();
    await promisify(execFile)("virsh", ["-c", uri, "list", "--all"]);
    virsh.push(performance.now() - began);
  }
  say(`${uri.split("?")[0]}: list ${ms(median(medians))} (${ms(median(cpu))} CPU); virsh as a subprocess ${ms(median(virsh))}`);
}

async function manyDomains(uri: string): Promise<void> {
  const client = LibvirtClient.open({ uri, log });
  for (let number = 0; number < DOMAINS; number += 1) {
    const xml = `<domain type="test"><name>bench-${number}</name><memory>1024</memory><os><type>hvm</type></os></domain>`;
    const { dom } = await client.call("domainDefineXmlFlags", { xml, flags: 0 });
    await client.call("domainCreateWithFlags", { dom, flags: 0 });
  }
  const stats: number[] = [];
  const statsCpu: number[] = [];
  for (let run = 0; run < RUNS * 10; run += 1) {
    const [began, before] = [performance.now(), process.cpuUsage()];
    await client.call("connectGetAllDomainStats", { doms: [], stats: 0, flags: 0 });
    stats.push(performance.now() - began);
    statsCpu.push(cpuMs(before));
  }
  say(`${DOMAINS} domains: all statistics in ${ms(median(stats))} (${ms(median(statsCpu))} CPU)`);

  const { domains } = await client.call("connectListAllDomains", LIST_ALL);
  let events = 0;
  const emitter = new EventTarget();
  let expected = Number.POSITIVE_INFINITY;
  client.on("domainLifecycle", () => {
    events += 1;
    if (events >= expected) emitter.dispatchEvent(new Event("all"));
  });
  await client.call("connectListAllDomains", LIST_ALL);
  const perEvent: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    const benched = domains.filter(({ name }) => name.startsWith("bench-"));
    expected = events + benched.length * 2;
    const all = once(emitter, "all");
    const before = process.cpuUsage();
    await Promise.all(
      benched.map(async (dom) => {
        await client.call("domainSuspend", { dom });
        await client.call("domainResume", { dom });
      }),
    );
    await all;
    perEvent.push(cpuMs(before) / (benched.length * 2));
  }
  say(`${DOMAINS} domains: ${ms(median(perEvent))} CPU for a change and its event`);
  await client.close();
}

function cpuMs(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

function median(values: number[]): number {
  return percentile(values, 0.5);
}

function ms(value: number): string {
  return `${value.toFixed(value < 1 ? 3 : 1)} ms`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
