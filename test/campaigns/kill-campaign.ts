import { setTimeout as sleep } from "node:timers/promises";
import type { Deployment } from "../support/deployment.ts";
import type { Part } from "../support/part.ts";
import { seededRandom, shuffle } from "../support/random.ts";
import { ResumingClient, type WatchedEvent } from "../support/resuming-client.ts";

const WATCH = `subscription ($after: String, $snapshot: Boolean) {
  nodeEvents(after: $after, snapshot: $snapshot) { type cursor node { id labels { key value } hardware { cpu { threads } } } }
}`;

export interface KillCampaignOptions {
  deployment: Deployment;
  /** SIGKILLs of each part. */
  kills: number;
  seed: number;
  watchers?: number;
  say: (line: string) => void;
}

/** Milliseconds from the restart's begin until the graph answers in full again and an event arrives, per part. */
export type Recoveries = Record<string, number[]>;

/**
 * Kills parts at random moments while labels are written and watched. Afterwards each client must have received exactly the log:
 * every acknowledged write once, nothing missing, nothing twice, the same order for all. Throws with the seed otherwise.
 */
export async function runKillCampaign({ deployment, kills, seed, watchers = 4, say }: KillCampaignOptions): Promise<Recoveries> {
  const random = seededRandom(seed);
  const nodeId = await realNode(deployment);
  const clients = Array.from(
    { length: watchers },
    () => new ResumingClient({ url: deployment.socketUrl, token: deployment.token, query: WATCH, field: "nodeEvents" }),
  );
  const writer = new LabelWriter(deployment, nodeId);
  const recoveries: Recoveries = {};
  try {
    await Promise.all(clients.map((client) => client.until((events) => events.some((event) => event.type === "BOOKMARK"), 30_000)));
    writer.start();
    const queue = Object.values(deployment.parts).flatMap((part) => Array<Part>(kills).fill(part));
    shuffle(queue, random);
    for (const [index, part] of queue.entries()) {
      await sleep(random() * 1_000);
      await part.kill();
      const began = performance.now();
      part.spawn();
      await recovered(deployment, clients[0] as ResumingClient, writer);
      const took = performance.now() - began;
      recoveries[part.name] = [...(recoveries[part.name] ?? []), took];
      say(`${index + 1}/${queue.length} ${part.name}: back after ${Math.round(took)} ms, ${writer.acknowledged.length} writes`);
    }
    await writer.stop();
    const last = writer.acknowledged.at(-1);
    await Promise.all(clients.map((client) => client.until((events) => events.some((event) => labelOf(event) === last), 60_000)));
    await compare(deployment, clients, writer);
  } catch (error) {
    throw new Error(`kill campaign with SEED=${seed}: ${error instanceof Error ? error.message : error}`, { cause: error });
  } finally {
    await writer.stop();
    await Promise.all(clients.map((client) => client.close()));
  }
  return recoveries;
}

/** Writes 1, 2, 3 … into a label, each until it is acknowledged, as a careful client does. */
class LabelWriter {
  readonly acknowledged: string[] = [];
  private readonly deployment: Deployment;
  private readonly nodeId: string;
  private running: Promise<void> | null = null;
  private stopping = false;

  constructor(deployment: Deployment, nodeId: string) {
    this.deployment = deployment;
    this.nodeId = nodeId;
  }

  start(): void {
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await this.running;
  }

  private async run(): Promise<void> {
    for (let value = 1; !this.stopping; value++) {
      while (!(await this.write(`${value}`))) await sleep(50);
      this.acknowledged.push(`${value}`);
    }
  }

  private async write(value: string): Promise<boolean> {
    const input = { nodeId: this.nodeId, labels: [{ key: "campaign", value }] };
    const mutation = "mutation ($input: UpdateNodeInput!) { updateNode(input: $input) { node { id } } }";
    const answer = await this.deployment.query(mutation, { input }).catch(() => null);
    return answer !== null && !answer.errors && answer.data !== null;
  }
}

async function realNode(deployment: Deployment): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const answer = await deployment.query("{ nodes { nodes { id simulated status } } }").catch(() => null);
    const nodes = (answer?.data as { nodes: { nodes: Array<{ id: string; simulated: boolean; status: string }> } } | null)?.nodes.nodes;
    const node = nodes?.find(({ simulated, status }) => !simulated && status === "READY");
    if (node) return node.id;
    await sleep(200);
  }
  throw new Error("the agent's node did not become READY");
}

/** The graph answers in full again (also what only the agent knows), a write goes through, and a client sees it. */
async function recovered(deployment: Deployment, client: ResumingClient, writer: LabelWriter): Promise<void> {
  const written = writer.acknowledged.length;
  const deadline = performance.now() + 120_000;
  const whole = "{ nodes { nodes { simulated status hardware { cpu { threads } memory { usedBytes } } instanceTotals { managed } } } }";
  for (;;) {
    const answer = await deployment.query(whole).catch(() => null);
    type Answer = {
      nodes: {
        nodes: Array<{
          simulated: boolean;
          status: string;
          hardware: { memory: { usedBytes: number | null } } | null;
          instanceTotals: { managed: number } | null;
        }>;
      };
    };
    const nodes = (answer?.data as Answer | null | undefined)?.nodes?.nodes ?? [];
    const node = nodes.find(({ simulated }) => !simulated);
    if (!answer?.errors && node?.status === "READY" && typeof node.hardware?.memory.usedBytes === "number" && node.instanceTotals) break;
    if (performance.now() > deadline) throw new Error(`the graph did not come back: ${JSON.stringify(answer)}`);
    await sleep(20);
  }
  await client.until((events) => {
    const seen = labelOf(events.findLast((event) => labelOf(event) !== null));
    return seen !== null && Number(seen) > written;
  }, 120_000);
}

/** The log as one undisturbed reader gets it is what every client must have, and every acknowledged write is in it once. */
async function compare(deployment: Deployment, clients: ResumingClient[], writer: LabelWriter): Promise<void> {
  const last = writer.acknowledged.at(-1);
  for (const [index, client] of clients.entries()) {
    const begin = client.events.findIndex((event) => event.type === "BOOKMARK");
    const received = client.events.slice(begin + 1).filter((event) => event.type !== "BOOKMARK");
    const after = client.events[begin]?.cursor as string;
    const reader = new ResumingClient({ url: deployment.socketUrl, token: deployment.token, query: WATCH, field: "nodeEvents", after });
    try {
      await reader.until((events) => events.some((event) => labelOf(event) === last), 60_000);
    } finally {
      await reader.close();
    }
    const expected = reader.events.filter((event) => event.type !== "BOOKMARK");
    const length = expected.findIndex((event) => labelOf(event) === last) + 1;
    assertSame(`client ${index}`, received.slice(0, length).map(key), expected.slice(0, length).map(key));
    const values = received.map(labelOf).filter((value, at, all) => value !== null && value !== all[at - 1]);
    assertSame(`writes seen by client ${index}`, values as string[], writer.acknowledged);
  }
}

function key(event: WatchedEvent): string {
  return `${event.type} ${event.cursor}`;
}

function labelOf(event: WatchedEvent | undefined): string | null {
  const labels = (event?.["node"] as { labels: Array<{ key: string; value: string }> } | null | undefined)?.labels;
  return labels?.find(({ key }) => key === "campaign")?.value ?? null;
}

function assertSame(what: string, received: string[], expected: string[]): void {
  const at = expected.findIndex((value, index) => received[index] !== value);
  if (at === -1 && received.length === expected.length) return;
  const place = at === -1 ? expected.length : at;
  throw new Error(
    `${what}: at ${place} of ${expected.length} got ${received[place]}, expected ${expected[place]} (received ${received.length})`,
  );
}
