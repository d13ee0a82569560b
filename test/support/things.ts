import { defineEntity, LockMode, p } from "@mikro-orm/sqlite";
import { Migration } from "../../subgraphs/kit/store/migrations.ts";
import type { Store } from "../../subgraphs/kit/store/orm.ts";

/** What the tests of the store and the event log write: an object with a counter that every change raises by one. */
const ThingSchema = defineEntity({
  name: "Thing",
  tableName: "thing",
  properties: { id: p.string().primary(), count: p.integer(), color: p.string(), alive: p.boolean(), changedAt: p.datetime() },
});
export class Thing extends ThingSchema.class {}
ThingSchema.setClass(Thing);

export { ThingSchema };

export class CreateThings20261101 extends Migration {
  override up(): void {
    const { boolean, timestamp } = this.types;
    this.addSql(
      `create table thing (id text primary key, count integer not null, color text not null, alive ${boolean} not null, changed_at ${timestamp} not null)`,
    );
  }
}

/** As it is in events. */
export interface ThingJson {
  id: string;
  count: number;
  color: string;
  padding?: string;
}

export const STREAM = "things";
/** The last event of a test: every client waits for it, whatever its filter. */
export const END = "~end";
const COLORS = ["red", "green", "blue"];

export const isRedOrEnd = (thing: ThingJson) => thing.color === "red" || thing.id === END;

export function thingId(index: number): string {
  return `thing-${String(index).padStart(4, "0")}`;
}

/** Rows for `count` things that do not exist yet as far as watchers are concerned. */
export async function createRows(store: Store, count: number): Promise<void> {
  await store.transaction(async ({ em }) => {
    const ids = [...Array.from({ length: count }, (_, index) => thingId(index)), END];
    await em.insertMany(
      Thing,
      ids.map((id) => ({ id, count: 0, color: "none", alive: false, changedAt: new Date() })),
    );
  });
}

export interface ChangeOptions {
  ids: string[];
  random: () => number;
  /** Share of changes to an existing thing that delete it. */
  deletions?: number;
  padding?: string;
}

/** Changes things at random in one transaction: reads each under a lock, raises its counter, emits what happened. */
export async function changeThings(store: Store, { ids, random, deletions = 0.1, padding }: ChangeOptions): Promise<void> {
  // Drawn outside: the transaction may run again.
  const draws = ids.map((id) => ({ id, color: COLORS[Math.floor(random() * COLORS.length)] as string, dies: random() < deletions }));
  await store.transaction(async ({ em, emit }) => {
    const found = await em.find(
      Thing,
      { id: { $in: [...new Set(ids)] } },
      { lockMode: LockMode.PESSIMISTIC_WRITE, orderBy: { id: "asc" } },
    );
    const things = new Map(found.map((thing) => [thing.id, thing]));
    for (const { id, color, dies } of draws) {
      const thing = things.get(id);
      if (!thing) throw new Error(`${id} has no row.`);
      const previous = { id, count: thing.count, color: thing.color };
      const existed = thing.alive;
      thing.count += 1;
      thing.changedAt = new Date();
      if (existed && dies && id !== END) {
        thing.alive = false;
        emit(STREAM, { type: "DELETED", objectId: id, object: { ...previous, count: thing.count }, previous });
      } else {
        thing.alive = true;
        thing.color = color;
        const object = { id, count: thing.count, color, padding };
        emit(STREAM, { type: existed ? "MODIFIED" : "ADDED", objectId: id, object, previous: existed ? previous : null });
      }
    }
  });
}

export function endThings(store: Store): Promise<void> {
  return changeThings(store, { ids: [END], random: () => 0, deletions: 0 });
}

/** `count` random ids out of the first `things`, in an order that lets two writers wait for each other and not deadlock. */
export function pickIds(random: () => number, things: number, count: number): string[] {
  return Array.from({ length: count }, () => thingId(Math.floor(random() * things))).sort();
}
