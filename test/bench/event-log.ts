import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createLogger } from "../../platform/observability/log.ts";
import { type Bus, InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import { EventLog } from "../../subgraphs/kit/events/event-log.ts";
import { NatsBus } from "../../subgraphs/kit/events/nats-bus.ts";
import { openStore, type Store } from "../../subgraphs/kit/store/orm.ts";
import { seededRandom } from "../support/random.ts";
import { temporaryDatabases } from "../support/temporary-databases.ts";
import { CreateThings20261101, changeThings, createRows, pickIds, STREAM, type ThingJson, ThingSchema } from "../support/things.ts";

/**
 * The event log's own speed: `node test/bench/event-log.ts [sqlite|postgresql]`.
 * Appends of events alone and with the entity they report, by one and by two processes, one event and fifty per transaction; time from
 * the start of a transaction, and from its commit, until a watcher in this process, and in another replica, has the event.
 */
const SECONDS = 4;
const THINGS = 200;
const NATS_URL = process.env.TEST_NATS_URL ?? "nats://127.0.0.1:4222";
const log = createLogger({ name: "bench", level: "warn" });

interface Place {
  url: string;
  natsUrl: string | null;
}

const bus = ({ natsUrl }: Place): Bus => (natsUrl ? new NatsBus({ url: natsUrl, name: "bench", log }) : new InProcessBus());
const open = ({ url }: Place): Promise<Store> =>
  openStore({ name: "bench", url, entities: [ThingSchema], migrations: [CreateThings20261101], log });

const append = (store: Store, count: number) =>
  store.transaction(async ({ emit }) => {
    for (let event = 0; event < count; event += 1) {
      const object = { id: `a${event}`, padding: "x".repeat(500) };
      emit(STREAM, { type: "MODIFIED", objectId: object.id, object, previous: object });
    }
  });

/** Events per second of one process that does nothing else. */
async function appendFor(place: Place, perTransaction: number, entities: boolean): Promise<number> {
  const store = await open(place);
  const events = new EventLog(store, bus(place));
  events.start();
  const random = seededRandom(process.pid);
  let written = 0;
  const startedAt = performance.now();
  while (performance.now() - startedAt < SECONDS * 1_000) {
    if (entities) await changeThings(store, { ids: pickIds(random, THINGS, perTransaction), random });
    else await append(store, perTransaction);
    written += perTransaction;
  }
  const rate = written / ((performance.now() - startedAt) / 1_000);
  await events.stop();
  await store.close();
  return rate;
}

async function latency(place: Place): Promise<void> {
  const stores = [await open(place), await open(place)];
  // SQLite has no bus between processes; here both replicas share this process' own.
  const shared = place.natsUrl ? null : new InProcessBus();
  const buses = stores.map(() => shared ?? bus(place));
  const logs = stores.map((store, index) => new EventLog(store, buses[index] as Bus));
  for (const each of logs) each.start();
  await delay(300);
  const stop = new AbortController();
  const arrived: [number[], number[]] = [[], []];
  const watching = logs.map(async (each, index) => {
    for await (const event of each.watch<ThingJson>(STREAM, { signal: stop.signal }))
      if (event.type !== "BOOKMARK") arrived[index as 0 | 1].push(performance.now());
  });
  await delay(200);
  const begun: number[] = [];
  const committed: number[] = [];
  for (let change = 0; change < 400; change += 1) {
    begun.push(performance.now());
    await append(stores[0] as Store, 1);
    committed.push(performance.now());
    await delay(3);
  }
  await delay(300);
  stop.abort();
  await Promise.all(watching);
  for (const [index, where] of (["this process", "other replica"] as const).entries()) {
    const times = arrived[index as 0 | 1];
    print(`  begin → watcher, ${where}`, quantiles(times.map((at, change) => at - (begun[change] ?? 0))));
    print(`  transaction() returned → watcher, ${where}`, quantiles(times.map((at, change) => at - (committed[change] ?? 0))));
  }
  for (const each of logs) await each.stop();
  for (const each of new Set(buses)) await each.close();
  for (const store of stores) await store.close();
}

function quantiles(values: number[]): string {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => (sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN).toFixed(2);
  return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms (${values.length})`;
}

function print(what: string, value: string): void {
  process.stdout.write(`${what.padEnd(52)} ${value}\n`);
}

async function twoProcesses(place: Place, perTransaction: number, entities: boolean): Promise<number> {
  const children = [0, 1].map(() => fork(fileURLToPath(import.meta.url), ["child", JSON.stringify({ place, perTransaction, entities })]));
  const rates = await Promise.all(children.map(async (child) => (await once(child, "message"))[0] as number));
  return rates.reduce((sum, rate) => sum + rate, 0);
}

async function measure(name: string, place: Place): Promise<void> {
  print(name, "");
  const store = await open(place);
  await createRows(store, THINGS);
  await store.close();
  for (const entities of [false, true]) {
    for (const perTransaction of [1, 50]) {
      const what = `  ${entities ? "entity + event" : "event alone"}, ${perTransaction} per transaction`;
      print(`${what}, 1 writer`, `${Math.round(await appendFor(place, perTransaction, entities))} events/s`);
      print(`${what}, 2 processes`, `${Math.round(await twoProcesses(place, perTransaction, entities))} events/s`);
    }
  }
  await latency(place);
}

if (process.argv[2] === "child") {
  const { place, perTransaction, entities } = JSON.parse(process.argv[3] as string) as {
    place: Place;
    perTransaction: number;
    entities: boolean;
  };
  const rate = await appendFor(place, perTransaction, entities);
  process.send?.(rate);
  process.exit(0);
} else {
  const only = process.argv[2];
  if (only !== "postgresql") {
    const directory = mkdtempSync(join(tmpdir(), "fleetgraph-bench-"));
    await measure("SQLite, in-process bus", { url: `sqlite:${join(directory, "bench.db")}`, natsUrl: null });
    rmSync(directory, { recursive: true });
  }
  if (only !== "sqlite") {
    const { urls, drop } = await temporaryDatabases(["bench"]);
    await measure("PostgreSQL, NATS", { url: urls.bench, natsUrl: NATS_URL });
    await drop();
  }
  process.exit(0);
}
