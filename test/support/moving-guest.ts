import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { GraphqlResult } from "./compute-fleet.ts";
import { type FleetHost, hostTruth, virsh } from "./fleet-host.ts";
import { GUEST_COMMAND_LINE } from "./tiny-guest.ts";

const run = promisify(execFile);
const MIB = 2 ** 20;

/** How a test asks the control plane; an answer with errors is an answer. */
export type AskFleet = (query: string, variables: Record<string, unknown>) => Promise<GraphqlResult>;

/** A VM with a disk of its own, which is busy with processor, disk and network for as long as any test runs. */
export const BUSY_GUEST = {
  type: "VM",
  spec: {
    ...{ image: "tiny", kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: `${GUEST_COMMAND_LINE} guest.busy=36000` },
    ...{ cpuCores: 1, memoryBytes: 96 * MIB, network: { networkId: "none" } },
    disks: [{ name: "root", sizeBytes: 80 * MIB, type: "ssd", boot: true }],
  },
};

export interface MovedTask {
  state: string;
  status: string | null;
  error: { code: string; reason: string | null; message: string } | null;
}

const MIGRATE = "mutation ($input: MigrateInstanceInput!) { migrateInstance(input: $input) { task { id } } }";
const TASK = "query ($id: ID!) { task(id: $id) { state status error { code reason message } } }";
const PLACED = `query ($id: ID!) { instance(id: $id) { state desiredState activity generation node { id } }
  nodes { nodes { id instanceTotals { managed reservedCpuCores reservedMemoryBytes } } } }`;

/** Begins a move; gives its task, or the error. */
export async function beginMove(
  ask: AskFleet,
  instanceId: string,
  targetNodeId: string,
  more: Record<string, unknown> = {},
): Promise<{ taskId: string | null; error: { message: string; extensions: Record<string, unknown> } | null }> {
  const { data, errors } = await ask(MIGRATE, { input: { instanceId, targetNodeId, ...more } });
  return { taskId: data?.migrateInstance?.task.id ?? null, error: errors?.[0] ?? null };
}

export async function readTask(ask: AskFleet, id: string): Promise<MovedTask | null> {
  return (await ask(TASK, { id })).data?.task ?? null;
}

/**
 * What is wrong with an instance that was moved, or not: empty where exactly one copy of it runs, on the node that the graph names, with its share
 * reserved there and nowhere else, nothing of it is left on the others, and no host has a port of libvirt or QEMU open.
 */
export async function problemsOf(ask: AskFleet, hosts: readonly FleetHost[], id: string): Promise<string[]> {
  const { data } = await ask(PLACED, { id });
  if (!data?.instance?.node) return ["the graph does not answer"];
  const { state, desiredState, activity, node } = data.instance;
  const problems: string[] = [];
  if (state !== "RUNNING" || desiredState !== "RUNNING" || activity !== null) problems.push(`it is shown ${JSON.stringify(data.instance)}`);
  type Totals = { managed: number; reservedCpuCores: number; reservedMemoryBytes: number };
  const totals = new Map(data.nodes.nodes.map((one: { id: string; instanceTotals: Totals }) => [one.id, one.instanceTotals]));
  for (const host of hosts) {
    const isHere = host.nodeId === node.id;
    const held = totals.get(host.nodeId) as Totals | undefined;
    const expected = isHere
      ? { managed: 1, reservedCpuCores: 1, reservedMemoryBytes: 96 * MIB }
      : { managed: 0, reservedCpuCores: 0, reservedMemoryBytes: 0 };
    if (JSON.stringify(held) !== JSON.stringify(expected)) problems.push(`${host.hostname} holds ${JSON.stringify(held)}`);
    problems.push(...(await hostProblems(host, id, isHere)));
  }
  return problems;
}

async function hostProblems(host: FleetHost, id: string, isHere: boolean): Promise<string[]> {
  const { domains, files } = await hostTruth(host);
  const problems: string[] = [];
  if (isHere !== domains.includes(id)) problems.push(`${host.hostname} has ${domains.join() || "no domain"}`);
  if (!isHere && files.some((file) => file.includes(id))) problems.push(`${host.hostname} has ${files.join()} left`);
  if (isHere && domains.includes(id)) {
    const state = (await virsh(host, "domstate", id)).trim();
    if (state !== "running") problems.push(`on ${host.hostname} it is ${state}`);
  }
  const { stdout } = await run(host.host.namespace.prefix[0] as string, [...host.host.namespace.prefix.slice(1), "ss", "-Hltn"]);
  if (/:(16509|16514|49\d{3})\b/.test(stdout)) problems.push(`${host.hostname} listens on ${stdout}`);
  return problems;
}
