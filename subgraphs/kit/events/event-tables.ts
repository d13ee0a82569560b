import { Migration } from "../store/migrations.ts";

/**
 * The event log's tables, the same in every subgraph's database.
 * - `event_log`: the log itself. `object` and `previous` are JSON text. `seq` has no gaps within a stream above its floor.
 * - `event_stream`: the last `seq` of each stream; its row is what writers of a stream queue for.
 * - `event_floor`: a cursor below the floor has expired. A row of its own, so that compaction never holds up a writer.
 * - `event_state`: one row with the epoch, which changes when a backup is restored.
 */
export class CreateEventLog20261101 extends Migration {
  override up(): void {
    const { int64 } = this.types;
    // Snapshots are paged by object id: bytewise on both, whatever the server's locale.
    const bytes = this.dialect === "sqlite" ? "text" : 'text collate "C"';
    this.addSql(`create table event_log (
      stream text not null,
      seq ${int64} not null,
      object_id ${bytes} not null,
      type text not null,
      at ${int64} not null,
      object text not null,
      previous text,
      primary key (stream, seq)
    )`);
    this.addSql("create index event_log_object on event_log (stream, object_id, seq)");
    this.addSql(`create table event_stream (stream text not null primary key, seq ${int64} not null)`);
    this.addSql(`create table event_floor (stream text not null primary key, floor ${int64} not null)`);
    this.addSql("create table event_state (id integer not null primary key check (id = 1), epoch text not null)");
    const epoch = this.dialect === "sqlite" ? "lower(hex(randomblob(8)))" : "substr(md5(random()::text || clock_timestamp()::text), 1, 16)";
    this.addSql(`insert into event_state (id, epoch) values (1, ${epoch})`);
  }
}
