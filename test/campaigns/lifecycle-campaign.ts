import { setTimeout as sleep } from "node:timers/promises";
import { type FleetHost, hostTruth, virsh } from "../support/fleet-host.ts";
import { seededRandom, shuffle } from "../support/random.ts";
import { type Ask, type Life, liveOnce, type SeenInstance } from "./lifecycle.ts";

export interface LifecycleCampaignOptions {
  ask: Ask;
  host: FleetHost;
  /** What can be killed, by name; `kill` ends it without warning, `start` brings it back. */
  victims: Record<string, { kill(): Promise<void>; start(): Promise<void> }>;
  lifecycles: number;
  /** SIGKILLs of each victim. */
  kills: number;
  seed: number;
  /** Life cycles at once. */
  atOnce?: number;
  say: (line: string) => void;
}

const LIST = `query ($after: String) { instances(first: 100, after: $after) {
  nodes { id state desiredState stateReason errorMessage }
  pageInfo { hasNextPage endCursor }
} }`;
const RESERVED = "{ nodes { nodes { id instanceTotals { managed reservedCpuCores reservedMemoryBytes } } } }";

/**
 * Drives instances through their lives while everything that takes part is killed at random moments. Afterwards the graph says what virsh
 * and podman say, nothing else exists on the host, and no repeated request made two. Throws with the seed otherwise.
 */
export async function runLifecycleCampaign(options: LifecycleCampaignOptions): Promise<void> {
  const { seed } = options;
  try {
    const lives = await liveAndKill(options);
    await compareStates(options, lives);
    await deleteAll(options, lives);
  } catch (error) {
    throw new Error(`lifecycle campaign with SEED=${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

async function liveAndKill({ ask, victims, lifecycles, kills, seed, atOnce = 4, say }: LifecycleCampaignOptions): Promise<Life[]> {
  const lives: Life[] = [];
  let started = 0;
  let killing = true;
  let failure: unknown = null;
  const worker = async () => {
    while (failure === null && (started < lifecycles || killing)) {
      const number = started++;
      try {
        lives.push(await liveOnce(ask, number, seededRandom(seed + number)));
      } catch (error) {
        failure ??= error;
        return;
      }
      if (lives.length % 10 === 0) say(`${lives.length} life cycles`);
    }
  };
  const workers = Promise.all(Array.from({ length: atOnce }, worker));
  const random = seededRandom(seed);
  const queue = Object.keys(victims).flatMap((name) => Array<string>(kills).fill(name));
  shuffle(queue, random);
  for (const [index, name] of queue.entries()) {
    // Spread over all the lives.
    const due = Math.floor((index / queue.length) * lifecycles);
    do await sleep(random() * 2_000);
    while (failure === null && lives.length < due);
    if (failure !== null) break;
    const victim = victims[name];
    await victim?.kill();
    // Some stay away for longer than a call's patience.
    await sleep(random() < 0.2 ? random() * 4_000 : 0);
    await victim?.start();
    if ((index + 1) % 10 === 0) say(`${index + 1} of ${queue.length} kills, ${lives.length} life cycles`);
  }
  killing = false;
  await workers;
  if (failure !== null) throw failure;
  say(`${lives.length} life cycles, ${queue.length} kills`);
  return lives;
}

/** Every instance is what it was last asked to be, here and on the host, and there is no other. */
async function compareStates({ ask, host, say }: LifecycleCampaignOptions, lives: Life[]): Promise<void> {
  const deadline = performance.now() + 120_000;
  for (;;) {
    const problems = await differences(ask, host, lives);
    if (problems.length === 0) break;
    if (performance.now() > deadline) throw new Error(problems.slice(0, 20).join("\n"));
    await sleep(1_000);
  }
  say(
    `the graph and the host agree on ${lives.filter(({ expected }) => expected !== "DELETED").length} instances, and nothing else is there`,
  );
}

async function differences(ask: Ask, host: FleetHost, lives: Life[]): Promise<string[]> {
  const shown = new Map((await listInstances(ask)).map((instance) => [instance.id, instance]));
  const native = await nativeStates(host);
  const problems: string[] = [];
  const expected = new Map(lives.filter((life) => life.expected !== "DELETED").map((life) => [life.id, life]));
  for (const [id, life] of expected) {
    if (shown.get(id)?.state !== life.expected) problems.push(`${id} should be ${life.expected}: ${JSON.stringify(shown.get(id))}`);
    if (native.get(id) !== life.expected) problems.push(`${id} (${life.type}) should be ${life.expected}; the host says ${native.get(id)}`);
  }
  for (const id of shown.keys())
    if (!expected.has(id)) problems.push(`${id} is shown, and nobody asked for it: ${JSON.stringify(shown.get(id))}`);
  for (const id of native.keys()) if (!expected.has(id)) problems.push(`${id} is on the host, and nobody asked for it`);
  const { files, filters } = await hostTruth(host);
  for (const file of [...files, ...filters]) {
    if (![...expected.keys()].some((id) => file.includes(id))) problems.push(`${file} is left over`);
  }
  problems.push(...(await reservationProblems(ask, host, [...expected.values()])));
  return problems;
}

async function reservationProblems(ask: Ask, host: FleetHost, lives: Life[]): Promise<string[]> {
  const { data } = await ask(RESERVED, {});
  type Node = { id: string; instanceTotals: { managed: number; reservedCpuCores: number; reservedMemoryBytes: number } };
  const node = (data as { nodes: { nodes: Node[] } } | null | undefined)?.nodes.nodes.find(({ id }) => id === host.nodeId);
  const cores = lives.length;
  const memory = lives.reduce((sum, { type }) => sum + (type === "CONTAINER" ? 32 : 96) * 2 ** 20, 0);
  const totals = node?.instanceTotals;
  const agrees = totals?.managed === lives.length && totals.reservedCpuCores === cores && totals.reservedMemoryBytes === memory;
  return agrees ? [] : [`${lives.length} instances should hold ${cores} cores and ${memory} bytes: ${JSON.stringify(totals)}`];
}

async function deleteAll({ ask, host, say }: LifecycleCampaignOptions, lives: Life[]): Promise<void> {
  const left = lives.filter(({ expected }) => expected !== "DELETED");
  const mutation = "mutation ($input: DeleteInstanceInput!) { deleteInstance(input: $input) { instance { id } } }";
  for (const life of left) {
    const { errors } = await ask(mutation, { input: { instanceId: life.id, force: true } });
    if (errors) throw new Error(`${life.id} cannot be deleted: ${JSON.stringify(errors)}`);
    life.expected = "DELETED";
  }
  const deadline = performance.now() + 120_000;
  for (;;) {
    const problems = await differences(ask, host, lives);
    if (problems.length === 0) break;
    if (performance.now() > deadline) throw new Error(problems.slice(0, 20).join("\n"));
    await sleep(500);
  }
  say("after their deletion nothing is left");
}

async function listInstances(ask: Ask): Promise<SeenInstance[]> {
  const all: SeenInstance[] = [];
  for (let after: string | null = null; ; ) {
    const { data, errors } = await ask(LIST, { after });
    if (errors) throw new Error(JSON.stringify(errors));
    type Page = { instances: { nodes: SeenInstance[]; pageInfo: { hasNextPage: boolean; endCursor: string | null } } };
    const { nodes, pageInfo } = (data as unknown as Page).instances;
    all.push(...nodes);
    if (!pageInfo.hasNextPage) return all;
    after = pageInfo.endCursor;
  }
}

const VIRSH_STATES: Record<string, string> = { running: "RUNNING", idle: "RUNNING", "shut off": "STOPPED", paused: "SUSPENDED" };
const PODMAN_STATES: Record<string, string> = { running: "RUNNING", exited: "STOPPED", created: "STOPPED", paused: "SUSPENDED" };

/** What virsh and podman say, by the instance's id. */
async function nativeStates(host: FleetHost): Promise<Map<string, string>> {
  const states = new Map<string, string>();
  for (const line of (await virsh(host, "list", "--all")).split("\n").slice(2)) {
    const [, name, state = ""] = /^\s*\S+\s+(\S+)\s+(.*?)\s*$/.exec(line) ?? [];
    if (name !== undefined) states.set(name, VIRSH_STATES[state] ?? state);
  }
  const containers = JSON.parse(await host.host.podman.podman("ps", "--all", "--format", "json")) as Array<{
    Names: string[];
    State: string;
  }>;
  for (const { Names, State } of containers) states.set(Names[0] ?? "", PODMAN_STATES[State] ?? State);
  return states;
}
