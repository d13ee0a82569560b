import type { EntityManager, Store } from "../../kit/store/orm.ts";
import type { BeatCount } from "./lease-table.ts";

/** One statement for all of them: times and counters of nodes that were heard of. */
export async function writeLiveness(store: Store, heard: ReadonlyMap<string, number>): Promise<void> {
  // In the order of ids: two replicas that write the same rows do not wait for each other crosswise.
  const rows = JSON.stringify([...heard].sort(([a], [b]) => (a < b ? -1 : 1)));
  await store.transaction(({ em }) => em.execute(store.dialect === "sqlite" ? UPDATE_SQLITE : UPDATE_POSTGRESQL, [rows], "run"));
}

const UPDATE_SQLITE = `
  update node_liveness set beats = beats + 1, last_seen = max(coalesce(last_seen, 0), heard.at)
  from (select value ->> 0 as id, value ->> 1 as at from json_each(?)) as heard
  where node_liveness.node_id = heard.id`;

const UPDATE_POSTGRESQL = `
  with heard as (
    select e ->> 0 as id, to_timestamp((e ->> 1)::double precision / 1000) as at
    from jsonb_array_elements(?::jsonb) as e
  ), locked as (
    select l.node_id from node_liveness l join heard on heard.id = l.node_id order by l.node_id for update of l
  )
  update node_liveness l set beats = l.beats + 1, last_seen = greatest(coalesce(l.last_seen, heard.at), heard.at)
  from heard, locked where l.node_id = heard.id and locked.node_id = l.node_id`;

/** The counters of all nodes whose lease runs. */
export async function readBeats(store: Store): Promise<BeatCount[]> {
  const rows = await store.sql.query<{ id: string; beats: number | string }>(
    `select n.id as id, l.beats as beats from node n join node_liveness l on l.node_id = n.id
     where n.lease = 'running' and n.deregistered_at is null`,
  );
  return rows.map(({ id, beats }) => ({ id, beats: Number(beats) }));
}

/** Of these nodes, the ones whose counter still stands where it was last seen, locked against batches that are being written. */
export async function stillSilent(em: EntityManager, expired: readonly BeatCount[], dialect: Store["dialect"]): Promise<Set<string>> {
  const marks = expired.map(() => "?").join(", ");
  const lock = dialect === "postgresql" ? " for update" : "";
  const rows = await em.execute<Array<{ node_id: string; beats: number | string }>>(
    `select node_id, beats from node_liveness where node_id in (${marks}) order by node_id${lock}`,
    expired.map(({ id }) => id),
  );
  const counters = new Map(rows.map((row) => [row.node_id, Number(row.beats)]));
  return new Set(expired.filter(({ id, beats }) => counters.get(id) === beats).map(({ id }) => id));
}
