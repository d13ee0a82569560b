import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "../../platform/observability/log.ts";
import { type Bus, InProcessBus } from "../../subgraphs/kit/events/bus.ts";
import { EventLog, type EventLogOptions } from "../../subgraphs/kit/events/event-log.ts";
import { NatsBus } from "../../subgraphs/kit/events/nats-bus.ts";
import { openStore, type Store } from "../../subgraphs/kit/store/orm.ts";
import { NATS_URL } from "./peer-addresses.ts";
import type { Peer } from "./peers.ts";
import { temporaryDatabases } from "./temporary-databases.ts";
import { CreateThings20261101, ThingSchema } from "./things.ts";

export const silent = createLogger({ name: "test", level: "silent" });

/** One way to run: a database and a bus. Every test of the event log runs over both. */
export interface Variant {
  name: string;
  peers: Peer[];
  database(): Promise<TestDatabase>;
  /** A bus for one replica. On SQLite two processes have no bus between them: the sweep is what connects them. */
  bus(url?: string): Bus;
  natsUrl: string | null;
}

export interface TestDatabase {
  url: string;
  drop(): Promise<void>;
}

export const VARIANTS: Variant[] = [
  { name: "SQLite and the in-process bus", peers: [], database: sqliteDatabase, bus: () => new InProcessBus(), natsUrl: null },
  {
    name: "PostgreSQL and NATS",
    peers: ["postgresql", "nats"],
    database: postgresqlDatabase,
    bus: (url = NATS_URL) => new NatsBus({ url, name: "test", log: silent }),
    natsUrl: NATS_URL,
  },
];

async function sqliteDatabase(): Promise<TestDatabase> {
  const directory = mkdtempSync(join(tmpdir(), "fleetgraph-kit-"));
  return { url: `sqlite:${join(directory, "things.db")}`, drop: async () => rmSync(directory, { recursive: true, force: true }) };
}

async function postgresqlDatabase(): Promise<TestDatabase> {
  const { urls, drop } = await temporaryDatabases(["kit"]);
  return { url: urls.kit, drop };
}

/** Names differ from test to test: they are in the subjects of the bus that all tests share. */
export function uniqueName(): string {
  return `things${Math.random().toString(36).slice(2, 10)}`;
}

export function openThings(
  url: string,
  name: string,
  limits: { maxConnections?: number; statementTimeoutMs?: number } = {},
): Promise<Store> {
  return openStore({ name, url, entities: [ThingSchema], migrations: [CreateThings20261101], log: silent, ...limits });
}

export interface Replica {
  store: Store;
  bus: Bus;
  log: EventLog;
  close(): Promise<void>;
}

/** A store with its event log, as one process of a subgraph has it. The sweep is quick, so that tests are. */
export async function openReplica(
  variant: Variant,
  url: string,
  name: string,
  options: EventLogOptions & { bus?: Bus } = {},
): Promise<Replica> {
  const store = await openThings(url, name);
  const bus = options.bus ?? variant.bus();
  const log = new EventLog(store, bus, { sweepIntervalMs: 50, ...options });
  log.start();
  return {
    store,
    bus,
    log,
    close: async () => {
      await log.stop();
      await bus.close();
      await store.close();
    },
  };
}
