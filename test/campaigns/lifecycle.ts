import { setTimeout as sleep } from "node:timers/promises";
import type { GraphqlAnswer } from "../support/deployment.ts";
import { GUEST_COMMAND_LINE } from "../support/tiny-guest.ts";

const MIB = 2 ** 20;

export type Ask = (query: string, variables: Record<string, unknown>) => Promise<GraphqlAnswer>;

/** What a life cycle left: the instance, and what it was last asked to be. */
export interface Life {
  id: string;
  type: string;
  clientRequestId: string;
  /** What it must be when all is quiet. */
  expected: "RUNNING" | "STOPPED" | "SUSPENDED" | "DELETED";
}

export interface SeenInstance {
  id: string;
  state: string;
  desiredState: string;
  stateReason: string | null;
  errorMessage: string | null;
}

const TYPES = ["CONTAINER", "CONTAINER", "MICROVM", "VM"] as const;
const MOVES = ["stop", "kill", "restart", "suspend"] as const;
/** How long a careful client goes on; far above any outage of the campaign. */
const PATIENCE_MS = 240_000;

/**
 * One instance from its creation through some changes to its end, as a careful client drives it through outages: a creation is repeated
 * under its request id until it is acknowledged, a change until the instance is on its way to what was asked.
 */
export async function liveOnce(ask: Ask, number: number, random: () => number): Promise<Life> {
  const type = pick(TYPES, random);
  const clientRequestId = `life-${number}`;
  const client = new LifeClient(ask);
  const id = await client.create({ name: `life-${number}`, type, spec: specOf(type), clientRequestId });
  const life: Life = { id, type, clientRequestId, expected: "RUNNING" };
  // Some are deleted while they are being made.
  if (random() < 0.15) {
    await sleep(random() * 2_000);
    return client.end(life, random() < 0.5);
  }
  await client.settled(id, ["RUNNING"]);
  for (let moves = Math.floor(random() * 3); moves > 0 && life.expected === "RUNNING"; moves -= 1) {
    await client.move(life, pick(MOVES, random), random);
  }
  return random() < 0.85 ? client.end(life, random() < 0.5) : life;
}

class LifeClient {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  async create(input: Record<string, unknown>): Promise<string> {
    const query = "mutation ($input: CreateInstanceInput!) { createInstance(input: $input) { instance { id } } }";
    const data = await this.#acknowledged(query, { input });
    return (data as { createInstance: { instance: { id: string } } }).createInstance.instance.id;
  }

  async move(life: Life, move: (typeof MOVES)[number], random: () => number): Promise<void> {
    const { id } = life;
    if (move === "stop" || move === "kill") {
      // A guest that is still booting does not hear its power button: it is powered off when its time is over.
      await this.#change("stopInstance", { instanceId: id, force: move === "kill", timeoutSeconds: 8 }, id, "STOPPED");
      life.expected = "STOPPED";
      if (random() < 0.3) return;
      await this.#change("startInstance", { instanceId: id }, id, "RUNNING");
    } else if (move === "restart") {
      await this.#change("restartInstance", { instanceId: id, force: true }, id, "RUNNING");
    } else {
      await this.#change("suspendInstance", { instanceId: id }, id, "SUSPENDED");
      life.expected = "SUSPENDED";
      if (random() < 0.2) return;
      await this.#change("resumeInstance", { instanceId: id }, id, "RUNNING");
    }
    life.expected = "RUNNING";
  }

  async end(life: Life, force: boolean): Promise<Life> {
    const deleting = async () => (await this.#read(life.id))?.desiredState === "DELETED";
    await this.#until(`the deletion of ${life.id}`, async () => {
      await this.#ask(mutation("deleteInstance"), { input: { instanceId: life.id, force } });
      return deleting();
    });
    life.expected = "DELETED";
    await this.settled(life.id, ["DELETED"]);
    return life;
  }

  /** Waits until it is one of these; ERROR ends the wait as a failure. */
  async settled(id: string, states: string[]): Promise<void> {
    await this.#until(`${id} to be ${states}`, async () => {
      const seen = await this.#read(id);
      if (seen?.state === "ERROR") throw new Failure(`${id} failed: ${JSON.stringify(seen)}`);
      return seen !== null && states.includes(seen.state);
    });
  }

  /** Asks once it is possible, and again only where the answer says that it was not taken. */
  async #change(name: string, input: Record<string, unknown>, id: string, leadsTo: string): Promise<void> {
    await this.#until(`${name} of ${id}`, async () => {
      const { errors } = await this.#ask(mutation(name), { input });
      if (!errors) return true;
      // Taken before, and the answer was lost.
      const seen = await this.#read(id);
      if (seen?.state === "ERROR") throw new Failure(`${id} failed: ${JSON.stringify(seen)}`);
      return seen?.desiredState === leadsTo && name !== "restartInstance";
    });
    await this.settled(id, [leadsTo]);
  }

  async #acknowledged(query: string, variables: Record<string, unknown>): Promise<unknown> {
    let data: unknown = null;
    await this.#until(query, async () => {
      const answer = await this.#ask(query, variables);
      const code = answer.errors?.[0]?.extensions?.["code"];
      if (code === "INVALID_ARGUMENT" || code === "FAILED_PRECONDITION") throw new Failure(JSON.stringify(answer.errors));
      data = answer.data;
      return !answer.errors && answer.data !== null;
    });
    return data;
  }

  async #read(id: string): Promise<SeenInstance | null> {
    const query = "query ($id: ID!) { instance(id: $id) { id state desiredState stateReason errorMessage } }";
    const { data } = await this.#ask(query, { id });
    return (data as { instance: SeenInstance | null } | null | undefined)?.instance ?? null;
  }

  async #until(what: string, holds: () => Promise<boolean>): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        if (await holds()) return;
      } catch (error) {
        // Everything else is an outage.
        if (error instanceof Failure) throw error;
      }
      if (performance.now() > end) throw new Error(`Waited ${PATIENCE_MS} ms in vain for ${what}.`);
      await sleep(150);
    }
  }
}

/** What no outage excuses. */
class Failure extends Error {}

function mutation(name: string): string {
  return `mutation ($input: ${name[0]?.toUpperCase()}${name.slice(1)}Input!) { ${name}(input: $input) { instance { id } } }`;
}

function specOf(type: (typeof TYPES)[number]): Record<string, unknown> {
  if (type === "CONTAINER") {
    return { image: "localhost/busybox:latest", cpuCores: 1, memoryBytes: 32 * MIB, network: { networkId: "none" } };
  }
  const guest = { image: "tiny", kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE };
  return { ...guest, cpuCores: 1, memoryBytes: 96 * MIB, network: { networkId: "none" } };
}

function pick<T>(values: readonly T[], random: () => number): T {
  return values[Math.floor(random() * values.length)] as T;
}
