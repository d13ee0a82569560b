import { LibvirtClient } from "../../agent/libvirt/client.ts";
import { createLogger } from "../../platform/observability/log.ts";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { percentile } from "../support/statistics.ts";
import { GUEST_COMMAND_LINE } from "../support/tiny-guest.ts";

/**
 * From a change at libvirt to the client: `node test/bench/change-to-client.ts [1000]`, as root, after `npm run build`. A guest is suspended
 * and resumed behind the agent's back; the clock runs from before the call to libvirt until a WebSocket client of the gateway has the event
 * (libvirtd, agent, mTLS, database, gateway in between; two processes and libvirtd on one machine).
 */
const CHANGES = Number(process.argv[2] ?? 1000);
const WATCH = `subscription ($after: String, $snapshot: Boolean) {
  instanceEvents(after: $after, snapshot: $snapshot) { type cursor instance { id state } }
}`;

await using fleet = await ComputeFleet.start({ hosts: [{ containers: false }] });
const [host] = fleet.hosts;
const spec = {
  ...{ image: "tiny", kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE },
  ...{ cpuCores: 1, memoryBytes: 96 * 2 ** 20, network: { networkId: "none" } },
};
const { id } = await fleet.change("createInstance", { name: "changed", type: "MICROVM", spec });
await fleet.untilState(id, "RUNNING");
const watch = fleet.watch(WATCH, "instanceEvents");
await watch.until((events) => events.some(({ type }) => type === "BOOKMARK"), 30_000);

const client = LibvirtClient.open({ uri: host?.host.libvirtUri ?? "", log: createLogger({ name: "bench", level: "error" }) });
const { dom } = await client.call("domainLookupByName", { name: id });
const calls: number[] = [];
const took: number[] = [];
for (let change = 0; change < CHANGES; change += 1) {
  const [procedure, state] = change % 2 === 0 ? (["domainSuspend", "SUSPENDED"] as const) : (["domainResume", "RUNNING"] as const);
  const seen = watch.events.length;
  const began = performance.now();
  const called = client.call(procedure, { dom }).then(() => calls.push(performance.now() - began));
  await watch.until((events) => events.slice(seen).some(({ instance }) => (instance as { state: string } | null)?.state === state), 10_000);
  took.push(performance.now() - began);
  await called;
}
await client.close();
const [p50, p99, max, call] = [percentile(took, 0.5), percentile(took, 0.99), Math.max(...took), percentile(calls, 0.5)];
const ms = (value: number) => `${value.toFixed(1)} ms`;
process.stdout.write(`${CHANGES} changes: p50 ${ms(p50)}, p99 ${ms(p99)}, max ${ms(max)}; libvirt's own call p50 ${ms(call)}\n`);
