import { setTimeout as sleep } from "node:timers/promises";
import type { FleetHost } from "../support/fleet-host.ts";
import { type AskFleet, BUSY_GUEST, beginMove, type MovedTask, problemsOf, readTask } from "../support/moving-guest.ts";
import { seededRandom } from "../support/random.ts";

export interface MigrationCampaignOptions {
  ask: AskFleet;
  hosts: [FleetHost, FleetHost];
  /** Moves; something is killed in the middle of each. */
  moves: number;
  seed: number;
  say: (line: string) => void;
}

const CREATE = "mutation ($input: CreateInstanceInput!) { createInstance(input: $input) { instance { id } } }";
const READ = "query ($id: ID!) { instance(id: $id) { state node { id } } }";
const CHECK =
  "query ($id: ID!, $target: ID) { checkMigration(instanceId: $id, targetNodeId: $target) { possible checks { name passed message } } }";
/** For what a kill in the middle may cost; far above what it does. */
const PATIENCE_MS = 300_000;
/** When something is killed: so much later than the task is this far. A move that is cut in the copy never gets to the rest. */
const MOMENTS = [
  { name: "the copy", statuses: ["copying", "disks", "memory", "switching"], withinMs: 5_000 },
  { name: "the take-over", statuses: ["finishing", "removing"], withinMs: 200 },
  { name: "its end", statuses: ["removing"], withinMs: 1_000 },
] as const;
type Moment = (typeof MOMENTS)[number];

const ENDED: ReadonlySet<string> = new Set(["SUCCEEDED", "FAILED", "CANCELLED"]);

interface Kill {
  name: string;
  end(): Promise<void>;
  back(): Promise<void>;
}

/**
 * A busy guest goes there and back, and in the middle of each move one of the agents or of the libvirtds is killed. Afterwards exactly one copy of it
 * runs, where the graph says, with its share reserved there alone, and no host has opened a port. Throws with the seed otherwise.
 */
export async function runMigrationCampaign(options: MigrationCampaignOptions): Promise<void> {
  const { ask, hosts, moves, seed, say } = options;
  const random = seededRandom(seed);
  const outcomes = new Map<string, number>();
  try {
    const id = await create(ask, hosts[0]);
    for (let number = 1; number <= moves; number += 1) {
      const source = await hostOf(ask, hosts, id);
      const target = hosts.find((host) => host !== source) as FleetHost;
      const kill = pickKill(source, target, random);
      const moment = MOMENTS[Math.floor(random() * MOMENTS.length)] as Moment;
      const task = await moveAndKill(ask, id, target, kill, moment, random() * moment.withinMs);
      await untilWhole(ask, hosts, id, PATIENCE_MS);
      const outcome = `${task.state}${task.error ? ` ${task.error.reason ?? task.error.code}` : ""}`;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      say(`move ${number} from ${source.hostname}, ${kill.name} killed at ${moment.name}: ${outcome}`);
    }
  } catch (error) {
    throw new Error(`migration campaign with SEED=${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  say([...outcomes].map(([outcome, count]) => `${count} × ${outcome}`).join(", "));
  say("after each move exactly one copy ran, its share was reserved once, and no port was open");
}

async function create(ask: AskFleet, host: FleetHost): Promise<string> {
  const { data, errors } = await ask(CREATE, { input: { name: "moves", ...BUSY_GUEST, preferredNodeId: host.nodeId } });
  if (errors) throw new Error(JSON.stringify(errors));
  const { id } = data.createInstance.instance as { id: string };
  await within("the guest to run", PATIENCE_MS, async () => (await ask(READ, { id })).data?.instance?.state === "RUNNING");
  return id;
}

async function hostOf(ask: AskFleet, hosts: readonly FleetHost[], id: string): Promise<FleetHost> {
  const { data } = await ask(READ, { id });
  const host = hosts.find(({ nodeId }) => nodeId === data?.instance?.node?.id);
  if (!host) throw new Error(`the guest is nowhere: ${JSON.stringify(data)}`);
  return host;
}

function pickKill(source: FleetHost, target: FleetHost, random: () => number): Kill {
  const agentOf = (role: string, { agent }: FleetHost): Kill => ({
    name: `the ${role}'s agent`,
    end: () => agent.kill(),
    back: async () => agent.spawn(),
  });
  const libvirtOf = (role: string, { host }: FleetHost): Kill => ({
    name: `the ${role}'s libvirtd`,
    end: () => host.libvirt.kill(),
    back: () => host.libvirt.start(),
  });
  const kills = [agentOf("source", source), agentOf("target", target), libvirtOf("source", source), libvirtOf("target", target)];
  return kills[Math.floor(random() * kills.length)] as Kill;
}

async function moveAndKill(ask: AskFleet, id: string, target: FleetHost, kill: Kill, moment: Moment, afterMs: number): Promise<MovedTask> {
  let last = "";
  await within(
    () => `the move to be possible: ${last}`,
    PATIENCE_MS,
    async () => {
      const { data, errors } = await ask(CHECK, { id, target: target.nodeId });
      last = JSON.stringify(errors ?? data?.checkMigration?.checks.filter(({ passed }: { passed: boolean }) => !passed));
      return data?.checkMigration?.possible === true;
    },
  );
  const { taskId, error } = await beginMove(ask, id, target.nodeId);
  if (taskId === null) throw new Error(`the move is refused: ${JSON.stringify(error)}`);
  await within(
    `the task to come to ${moment.name}`,
    PATIENCE_MS,
    async () => {
      const { state, status } = (await readTask(ask, taskId)) ?? { state: "", status: null };
      return (moment.statuses as readonly (string | null)[]).includes(status) || ENDED.has(state);
    },
    10,
  );
  await sleep(afterMs);
  await kill.end();
  await kill.back();
  let task: MovedTask | null = null;
  await within(
    () => `the task to end: ${JSON.stringify(task)}`,
    PATIENCE_MS,
    async () => {
      task = await readTask(ask, taskId);
      return task !== null && ENDED.has(task.state);
    },
  );
  return task as unknown as MovedTask;
}

async function untilWhole(ask: AskFleet, hosts: readonly FleetHost[], id: string, ms: number): Promise<void> {
  let problems: string[] = [];
  await within(
    () => problems.join("\n"),
    ms,
    async () => {
      problems = await problemsOf(ask, hosts, id);
      return problems.length === 0;
    },
  );
}

/** What no answer comes to counts as not yet. */
async function within(what: string | (() => string), ms: number, holds: () => Promise<boolean>, everyMs = 200): Promise<void> {
  const end = performance.now() + ms;
  while (!(await holds().catch(() => false))) {
    if (performance.now() > end) throw new Error(`Waited ${ms} ms in vain for ${typeof what === "string" ? what : what()}`);
    await sleep(everyMs);
  }
}
