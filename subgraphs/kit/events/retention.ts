import { setTimeout as sleep } from "node:timers/promises";
import type { EntityManager, Store } from "../store/orm.ts";
import type { EventTable } from "./event-table.ts";

export interface Retention {
  /** Events older than this may go; a day unless told. */
  maxAgeMs: number;
  /** Of each stream at most this many are kept in full; 100,000 unless told. */
  maxEvents: number;
  /** Events that one transaction of the compaction looks at; 500 unless told. */
  batch: number;
}

const MAX_BATCHES_PER_ROUND = 1_000;
/** Between two batches writers have the database for themselves. */
const PAUSE_MS = 10;

/**
 * Moves the floor of every stream up to what retention allows, in small transactions, and thins out what is below: of each object only
 * the latest event stays, and none where that says DELETED. So a snapshot at any event from the floor upwards finds every object, and
 * a cursor below the floor has expired. Returns how many events the floors moved.
 */
export async function compactAll(store: Store, table: EventTable, retention: Retention, signal: AbortSignal): Promise<number> {
  let moved = 0;
  const { streams } = await table.states();
  for (const [stream, { head, floor }] of streams) {
    if (head <= floor) continue;
    for (let batch = 0; batch < MAX_BATCHES_PER_ROUND && !signal.aborted; batch += 1) {
      const step = await store.transaction(({ em }) => compactBatch(em, store.dialect === "postgresql", stream, head, retention));
      moved += step;
      if (step < retention.batch) break;
      await sleep(PAUSE_MS, undefined, { signal }).catch(() => undefined);
    }
  }
  if (moved > 0) store.log.debug({ moved }, "event log compacted");
  return moved;
}

/** One step; 0 where nothing is old enough, or another replica is at it. */
async function compactBatch(em: EntityManager, postgres: boolean, stream: string, head: number, retention: Retention): Promise<number> {
  await em.execute("insert into event_floor (stream, floor) values (?, 0) on conflict (stream) do nothing", [stream]);
  const lock = postgres ? " for update skip locked" : "";
  const [row] = await em.execute<Array<{ floor: number | string }>>(`select floor from event_floor where stream = ?${lock}`, [stream]);
  if (!row) return 0;
  const floor = Number(row.floor);
  const next = await em.execute<Array<{ seq: number | string; at: number | string }>>(
    "select seq, at from event_log where stream = ? and seq > ? order by seq limit ?",
    [stream, floor, retention.batch],
  );
  const cutoff = Date.now() - retention.maxAgeMs;
  const keep = next.findIndex(({ seq, at }) => Number(seq) > head - retention.maxEvents && Number(at) >= cutoff);
  const old = keep === -1 ? next : next.slice(0, keep);
  const last = old.at(-1);
  if (!last) return 0;
  const target = Number(last.seq);
  await em.execute(
    `delete from event_log where stream = ? and seq in (
       select e.seq from (select object_id, max(seq) as latest from event_log where stream = ? and seq > ? and seq <= ? group by object_id) l
       join event_log e on e.stream = ? and e.object_id = l.object_id and e.seq < l.latest)`,
    [stream, stream, floor, target, stream],
  );
  await em.execute("delete from event_log where stream = ? and seq > ? and seq <= ? and type = 'DELETED'", [stream, floor, target]);
  await em.execute("update event_floor set floor = ? where stream = ?", [target, stream]);
  return old.length;
}
