import type { Store } from "../store/orm.ts";
import { withRetry } from "../store/retry.ts";
import type { SqlParameter } from "../store/sql.ts";
import type { ChangeType, StoredEvent } from "./event.ts";

export interface StreamState {
  epoch: string;
  /** Number of the last event; 0 before the first. */
  head: number;
  /** Cursors below have expired: events up to here are kept only as the latest state of each object. */
  floor: number;
}

export interface EventPage {
  events: StoredEvent[];
  /** Read after the events: where its floor has not passed the page's start, the page has no gap. */
  state: StreamState;
}

interface EventRow {
  seq: number | string;
  type: ChangeType;
  object_id: string;
  at: number | string;
  object: string;
  previous: string | null;
}

interface StateRow {
  stream: string | null;
  epoch: string;
  head: number | string | null;
  floor: number | string | null;
}

/** Reads of the log's tables, each of committed data. Errors are FleetErrors UNAVAILABLE or DEADLINE_EXCEEDED, or bugs. */
export class EventTable {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  async state(stream: string): Promise<StreamState> {
    const [row] = await this.#query<StateRow>(
      `select s.epoch, c.seq as head, f.floor from event_state s
       left join event_stream c on c.stream = ? left join event_floor f on f.stream = ?`,
      [stream, stream],
    );
    if (!row) throw new Error("The event log has lost its epoch.");
    return stateOf(row);
  }

  /** All streams that ever had an event, in one read. */
  async states(): Promise<{ epoch: string; streams: Map<string, StreamState> }> {
    const rows = await this.#query<StateRow>(
      `select s.epoch, c.stream, c.seq as head, f.floor from event_state s
       left join event_stream c on 1 = 1 left join event_floor f on f.stream = c.stream`,
    );
    const streams = new Map(rows.flatMap((row) => (row.stream === null ? [] : [[row.stream, stateOf(row)]])));
    return { epoch: rows[0]?.epoch ?? "", streams };
  }

  /** Events behind `after`, in order, at most `limit`. */
  async page(stream: string, after: number, limit: number): Promise<EventPage> {
    const rows = await this.#query<EventRow>(
      "select seq, type, object_id, at, object, previous from event_log where stream = ? and seq > ? order by seq limit ?",
      [stream, after, limit],
    );
    return { events: rows.map(eventOf), state: await this.state(stream) };
  }

  /**
   * What existed after event `at`: the latest event of each object, unless it says DELETED, in the order of object ids behind
   * `afterObject`. Compaction keeps exactly these rows for every `at` that is not below the floor.
   */
  async snapshotPage(stream: string, at: number, afterObject: string, limit: number): Promise<EventPage> {
    const rows = await this.#query<EventRow>(
      `select e.seq, e.type, e.object_id, e.at, e.object, null as previous from event_log e
       where e.stream = ? and e.object_id > ? and e.seq <= ? and e.type <> 'DELETED'
         and not exists (select 1 from event_log n where n.stream = e.stream and n.object_id = e.object_id and n.seq > e.seq and n.seq <= ?)
       order by e.object_id limit ?`,
      [stream, afterObject, at, at, limit],
    );
    return { events: rows.map(eventOf), state: await this.state(stream) };
  }

  /** Again while SQLite is busy (another process opens the file after a crash). */
  #query<Row extends object>(sql: string, parameters: SqlParameter[] = []): Promise<Row[]> {
    return withRetry(() => this.#store.sql.query<Row>(sql, parameters));
  }
}

function stateOf(row: StateRow): StreamState {
  return { epoch: row.epoch, head: Number(row.head ?? 0), floor: Number(row.floor ?? 0) };
}

function eventOf(row: EventRow): StoredEvent {
  return {
    seq: Number(row.seq),
    type: row.type,
    objectId: row.object_id,
    at: Number(row.at),
    object: row.object,
    previous: row.previous,
  };
}
