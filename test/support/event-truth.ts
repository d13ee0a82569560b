import { expect } from "vitest";
import { decodeCursor } from "../../subgraphs/kit/events/cursor.ts";
import type { Store } from "../../subgraphs/kit/store/orm.ts";
import { STREAM, Thing, type ThingJson } from "./things.ts";

export interface TruthEvent {
  seq: number;
  type: "ADDED" | "MODIFIED" | "DELETED";
  thing: ThingJson;
}

/** One delivered event, short enough to be read in a failure: "MODIFIED thing-0003 17". */
export type Delivered = string;

export const delivered = (type: string, id: string, count: number): Delivered => `${type} ${id} ${count}`;

/**
 * Waits for what a process sent before it died: its database may still be committing that. Whoever changes the stream's counter waits for
 * those who have it. Tells nobody anything.
 */
export async function untilCommitted(store: Store): Promise<void> {
  await store.transaction(({ em }) => em.execute("update event_stream set seq = seq where stream = ?", [STREAM]));
}

/** The whole log of the stream from its table, checked against the rows of the things: nothing else can be the truth. */
export async function readTruth(store: Store): Promise<TruthEvent[]> {
  const rows = await store.sql.query<{ seq: number | string; type: TruthEvent["type"]; object: string }>(
    "select seq, type, object from event_log where stream = ? order by seq",
    [STREAM],
  );
  const truth = rows.map((row) => ({ seq: Number(row.seq), type: row.type, thing: JSON.parse(row.object) as ThingJson }));
  expect(truth.map((event) => event.seq)).toEqual(truth.map((_, index) => index + 1));
  const counts = new Map<string, number>();
  for (const { type, thing } of truth) {
    // Each change of a thing is exactly one event, in the order of the changes.
    if (thing.count !== (counts.get(thing.id) ?? 0) + 1)
      throw new Error(`${type} ${thing.id} ${thing.count} follows ${counts.get(thing.id)}`);
    counts.set(thing.id, thing.count);
  }
  const stored = await store.read((em) => em.find(Thing, { count: { $gt: 0 } }));
  expect(new Map(stored.map((thing) => [thing.id, thing.count]))).toEqual(counts);
  return truth;
}

/** What exists after event `seq`, as a snapshot delivers it. */
export function truthAt(truth: TruthEvent[], seq: number): Map<string, ThingJson> {
  const things = new Map<string, ThingJson>();
  for (const event of truth) {
    if (event.seq > seq) break;
    if (event.type === "DELETED") things.delete(event.thing.id);
    else things.set(event.thing.id, event.thing);
  }
  return things;
}

/** What a client with this filter must get of the changes behind event `seq`, in order. Written apart from the code under test. */
export function expectedChanges(truth: TruthEvent[], seq: number, matches: (thing: ThingJson) => boolean): Delivered[] {
  const visible = new Set([...truthAt(truth, seq).values()].filter(matches).map((thing) => thing.id));
  const expected: Delivered[] = [];
  for (const { seq: number, type, thing } of truth) {
    if (number <= seq) continue;
    const was = visible.has(thing.id);
    const is = type !== "DELETED" && matches(thing);
    if (is) visible.add(thing.id);
    else visible.delete(thing.id);
    if (was && is) expected.push(delivered("MODIFIED", thing.id, thing.count));
    else if (is) expected.push(delivered("ADDED", thing.id, thing.count));
    else if (was) expected.push(delivered("DELETED", thing.id, thing.count));
  }
  return expected;
}

/** Compares exactly, and shows where the first difference is: a diff of ten thousand lines takes seconds and is read by nobody. */
export function expectDelivered(got: Delivered[], expected: Delivered[]): void {
  const at = expected.findIndex((event, index) => got[index] !== event);
  const where = at === -1 ? expected.length : at;
  const around = (events: Delivered[]) => ({
    count: events.length,
    from: Math.max(0, where - 3),
    events: events.slice(Math.max(0, where - 3), where + 5),
  });
  expect(around(got)).toEqual(around(expected));
}

export function seqOf(store: Store, cursor: string): number {
  return decodeCursor(store.name, STREAM, cursor).seq;
}
