import { setImmediate as nextTurn } from "node:timers/promises";
import type { SqlEntityManager } from "@mikro-orm/sqlite";
import type { Logger } from "../../../platform/observability/log.ts";
import type { ChangeType, CommittedEvents } from "../events/event.ts";
import type { PendingEvent, TransactionQueries } from "../events/event-append.ts";
import { CreateEventLog20261101 } from "../events/event-tables.ts";
import { type ConnectOptions, connectPostgres, connectSqlite, type StoreParts } from "./connect.ts";
import { parseDatabaseUrl } from "./database-url.ts";
import type { Dialect } from "./dialect.ts";
import type { JsonObject } from "./json.ts";
import { type MigrationClass, runMigrations } from "./migrations.ts";
import { asFleetError, classify, withRetry } from "./retry.ts";
import type { Sql } from "./sql.ts";
import { inTransactionScope, refuseInsideTransaction } from "./transaction-scope.ts";

export type EntityManager = SqlEntityManager;

export interface OpenStoreOptions extends ConnectOptions {
  /** The subgraph's own, oldest first; those of the event log come with the kit. */
  migrations: MigrationClass[];
}

/** Of all databases; the subgraph's own follow. */
const KIT_MIGRATIONS: MigrationClass[] = [CreateEventLog20261101];

/**
 * Opens a subgraph's database and brings it up to date. An entity is MikroORM's `defineEntity`, or a class with decorators of
 * `@mikro-orm/decorators/legacy` whose every decorator states its type:
 * ```ts
 * const NodeSchema = defineEntity({
 *   name: "Node",
 *   tableName: "node",
 *   properties: { id: p.string().primary(), hostname: p.string().unique(), labels: p.json<Record<string, string>>(), updatedAt: p.datetime(), version: p.integer().version() },
 * });
 * export class Node extends NodeSchema.class {}
 * NodeSchema.setClass(Node);
 *
 * const store = await openStore({ name: "clusters", url, entities: [NodeSchema], migrations: [CreateNodes20261101], log });
 * await store.transaction(async ({ em, emit }) => {
 *   const node = await em.findOneOrFail(Node, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
 *   const previous = nodeJson(node);
 *   node.labels = labels;
 *   emit("nodes", { type: "MODIFIED", objectId: node.id, object: nodeJson(node), previous });
 * });
 * ```
 * @throws Error with one clear message for a URL, a file or a server that cannot be used.
 */
export async function openStore(options: OpenStoreOptions): Promise<Store> {
  const address = parseDatabaseUrl(options.url);
  const log = options.log.child({ store: options.name });
  const store = new Store(
    address.dialect === "sqlite" ? await connectSqlite(options, address.file, log) : await connectPostgres(options, address.database, log),
  );
  try {
    await runMigrations(store.entityManager(), [...KIT_MIGRATIONS, ...options.migrations], log);
    return store;
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** A state change and what watchers are told of it. */
export interface Change {
  type: ChangeType;
  objectId: string;
  /** The object after the change; for DELETED its last state. Taken as it is at the call. */
  object: JsonObject;
  /** The object before the change: what turns a filter's MODIFIED into ADDED or DELETED. Null only for ADDED (and for DELETED, where `object` counts). */
  previous: JsonObject | null;
}

export interface Transaction {
  /** Of this transaction; pass it on, and await nothing else. */
  readonly em: EntityManager;
  /** Appends an event when the transaction commits. Events of one stream keep the order of the calls. */
  emit(this: void, stream: string, change: Change): void;
}

/** One subgraph's database. Made by `openStore`. */
export class Store {
  readonly name: string;
  readonly dialect: Dialect;
  readonly log: Logger;
  /** Hot reads of committed data, for the kit. */
  readonly sql: Sql;
  readonly #parts: StoreParts;
  readonly #listeners = new Set<(committed: CommittedEvents[]) => void>();
  #closed: Promise<void> | null = null;

  constructor(parts: StoreParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.dialect = parts.dialect;
    this.log = parts.log;
    this.sql = parts.sql;
  }

  /** A fresh EntityManager without a transaction; for the kit. Services use `read` and `transaction`. */
  entityManager(): EntityManager {
    return this.#parts.em.fork() as EntityManager;
  }

  /**
   * Runs reads on a fresh EntityManager. Each statement sees what is committed when it starts.
   * @throws FleetError UNAVAILABLE, DEADLINE_EXCEEDED of the database; whatever `fn` throws.
   */
  async read<T>(fn: (em: EntityManager) => Promise<T>): Promise<T> {
    refuseInsideTransaction("Store.read");
    return withRetry(() => fn(this.entityManager()));
  }

  /**
   * Runs `fn` in a transaction and commits: entities are flushed, then the emitted events are appended, then watchers are woken.
   * `fn` runs again from its start, with a fresh EntityManager, after a conflict with another writer: it must have no effect outside
   * the store, and nothing but the store may be awaited in it.
   *
   * Two replicas that change the same objects: on SQLite there is one writer at a time. On PostgreSQL (read committed) a row that is
   * read in order to be changed is read with `lockMode: LockMode.PESSIMISTIC_WRITE`, or its entity has a version property, whose lost
   * race runs `fn` again.
   * @throws FleetError CONFLICT after too many conflicts, UNAVAILABLE when the connection was lost (the commit may have happened),
   * DEADLINE_EXCEEDED after a statement time-out; constraint violations as MikroORM's exceptions; whatever `fn` throws.
   */
  transaction<T>(fn: (tx: Transaction) => Promise<T>): Promise<T> {
    return withRetry(() => inTransactionScope(() => this.#attempt(fn)));
  }

  /** Called after each commit that had events, before `transaction` returns. Must not throw. Returns an undo. */
  onCommitted(listener: (committed: CommittedEvents[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** True when the database answers; for readiness. */
  async isReachable(): Promise<boolean> {
    try {
      await this.sql.query("select 1 as one");
      return true;
    } catch (error) {
      this.log.warn({ err: asFleetError(error), fault: classify(error) }, "the database does not answer");
      return false;
    }
  }

  /** Ends all connections; running transactions fail. */
  close(): Promise<void> {
    this.#closed ??= this.#parts.close();
    return this.#closed;
  }

  async #attempt<T>(fn: (tx: Transaction) => Promise<T>): Promise<T> {
    const em = this.entityManager();
    await em.begin();
    let result: T;
    let committed: CommittedEvents[];
    try {
      const events = new Map<string, PendingEvent[]>();
      result = await fn({ em, emit: (stream, change) => addEvent(events, stream, change) });
      await em.flush();
      committed = await this.#append(em, events);
      await em.commit();
    } catch (error) {
      // A transaction that the server or the driver has ended already has nothing to roll back.
      await em.rollback().catch((rollbackError: unknown) => this.log.debug({ err: rollbackError }, "rollback failed"));
      throw error;
    }
    if (committed.length > 0) this.#announce(committed);
    // SQLite answers without ever waiting: a caller that runs one transaction after the other would let nobody else have a turn.
    if (this.dialect === "sqlite") await nextTurn();
    return result;
  }

  /** Streams in the order of their names: two transactions never wait for each other's counters crosswise. */
  async #append(em: EntityManager, events: Map<string, PendingEvent[]>): Promise<CommittedEvents[]> {
    const committed: CommittedEvents[] = [];
    const transaction = em.getTransactionContext<TransactionQueries>();
    if (!transaction) throw new Error("The transaction was ended inside of Store.transaction.");
    for (const stream of [...events.keys()].sort()) {
      committed.push(await this.#parts.append(transaction, stream, events.get(stream) ?? []));
    }
    return committed;
  }

  #announce(committed: CommittedEvents[]): void {
    for (const listener of this.#listeners) {
      try {
        listener(committed);
      } catch (error) {
        this.log.error({ err: error }, "a listener for committed events failed; readers find them by the sweep");
      }
    }
  }
}

function addEvent(events: Map<string, PendingEvent[]>, stream: string, change: Change): void {
  if (change.type === "MODIFIED" && change.previous === null)
    throw new TypeError("A MODIFIED event needs the previous state of its object.");
  const pending: PendingEvent = {
    type: change.type,
    objectId: change.objectId,
    object: JSON.stringify(change.object),
    previous: change.previous === null ? null : JSON.stringify(change.previous),
  };
  const list = events.get(stream);
  if (list) list.push(pending);
  else events.set(stream, [pending]);
}
