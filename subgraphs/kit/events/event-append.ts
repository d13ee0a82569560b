import type Database from "better-sqlite3";
import { CompiledQuery, type QueryExecutorProvider } from "kysely";
import { numbered } from "../store/sql.ts";
import type { ChangeType, CommittedEvents, StoredEvent } from "./event.ts";

export interface PendingEvent {
  type: ChangeType;
  objectId: string;
  object: string;
  previous: string | null;
}

/** Appends to one stream inside the running transaction: the last thing it does, because every other writer of the stream waits from here. */
export type AppendEvents = (transaction: TransactionQueries, stream: string, events: readonly PendingEvent[]) => Promise<CommittedEvents>;

/** The part of Kysely's transaction that an append needs. */
export interface TransactionQueries extends QueryExecutorProvider {
  executeQuery<R>(query: CompiledQuery<R>): Promise<{ rows: R[] }>;
}

/** On SQLite the transaction has the one writing connection, so prepared statements on it are inside the transaction. */
export function sqliteAppend(database: Database.Database): AppendEvents {
  const count = lazy(() =>
    database.prepare<[string, number], { seq: number; epoch: string }>(
      `insert into event_stream (stream, seq) values (?, ?)
       on conflict (stream) do update set seq = event_stream.seq + excluded.seq
       returning seq, (select epoch from event_state) as epoch`,
    ),
  );
  const insert = lazy(() =>
    database.prepare("insert into event_log (stream, seq, object_id, type, at, object, previous) values (?, ?, ?, ?, ?, ?, ?)"),
  );
  return async (_transaction, stream, events) => {
    const [counter] = count().all(stream, events.length);
    if (!counter) throw new Error("The event counter gave no number.");
    const stored = numberEvents(events, counter.seq);
    for (const event of stored) {
      insert().run(stream, event.seq, event.objectId, event.type, event.at, event.object, event.previous);
    }
    return { stream, epoch: counter.epoch, events: stored };
  };
}

/** One statement, so that the counter's row is locked for one round trip and the commit, no longer. */
const APPEND_POSTGRESQL = numbered(`
  with counter as (
    insert into event_stream as s (stream, seq) values (?, ?)
    on conflict (stream) do update set seq = s.seq + excluded.seq
    returning stream, seq
  ), appended as (
    insert into event_log (stream, seq, object_id, type, at, object, previous)
    select c.stream, c.seq - ?::int + e.position, e.object_id, e.type, ?::bigint, e.object, e.previous
    from counter c, unnest(?::text[], ?::text[], ?::text[], ?::text[]) with ordinality as e (object_id, type, object, previous, position)
  )
  select seq, (select epoch from event_state) as epoch from counter`);

export const postgresAppend: AppendEvents = async (transaction, stream, events) => {
  const at = Date.now();
  const { rows } = await transaction.executeQuery(
    CompiledQuery.raw(APPEND_POSTGRESQL, [
      stream,
      events.length,
      events.length,
      at,
      events.map((event) => event.objectId),
      events.map((event) => event.type),
      events.map((event) => event.object),
      events.map((event) => event.previous),
    ]),
  );
  const counter = rows[0] as { seq: string; epoch: string } | undefined;
  if (!counter) throw new Error("The event counter gave no number.");
  return { stream, epoch: counter.epoch, events: numberEvents(events, Number(counter.seq), at) };
};

function numberEvents(events: readonly PendingEvent[], last: number, at: number = Date.now()): StoredEvent[] {
  const first = last - events.length + 1;
  return events.map((event, index) => ({ seq: first + index, at, ...event }));
}

/** The tables exist only once migrations have run: statements are prepared at their first use. */
function lazy<T>(make: () => T): () => T {
  let value: T | undefined;
  return () => {
    value ??= make();
    return value;
  };
}
