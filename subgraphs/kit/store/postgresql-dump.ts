import { createReadStream, createWriteStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { Client } from "pg";
import { ensurePostgresDatabase } from "./postgresql-database.ts";

const FORMAT = "fleetgraph-postgresql";
const VERSION = 1;
const ROWS_PER_READ = 500;
const ROWS_PER_INSERT = 200;
/** A table that another program holds on to, or a server that falls silent, fails the backup or restore: nothing waits for ever. */
const LOCK_TIMEOUT_MS = 10_000;
const QUERY_TIMEOUT_MS = 600_000;

/**
 * The lines of a dump, in order: one header, then per table its definition and its rows, then the sequences, then statements for what
 * needs all rows (foreign keys), last the end with the number of rows.
 * A row is the JSON that PostgreSQL makes of it, and reads back by `json_populate_recordset`, so that every column type survives.
 */
type Line =
  | Header
  | { table: string; create: string[] }
  | { row: Record<string, unknown> }
  | { sequence: string; value: string; called: boolean }
  | { statement: string }
  | { end: number };
type Header = { format: string; version: number; at: string };

/** Writes all tables of the schema as they are at one moment. */
export async function dumpPostgres(url: string, file: string): Promise<void> {
  const client = await connect(url, "fleetgraph-backup");
  try {
    await client.query("begin transaction isolation level repeatable read read only");
    await pipeline(dumpOf(client), createWriteStream(file, { flags: "wx", mode: 0o600 }));
    await client.query("commit");
  } finally {
    await client.end();
  }
}

async function* dumpOf(client: Client): AsyncIterable<string> {
  const text = (line: Line) => `${JSON.stringify(line)}\n`;
  yield text({ format: FORMAT, version: VERSION, at: new Date().toISOString() });
  let count = 0;
  const last: string[] = [];
  for (const table of await tablesOf(client)) {
    const { create, foreignKeys } = await definitionOf(client, table);
    last.push(...foreignKeys);
    yield text({ table, create });
    await client.query(`declare rows no scroll cursor for select row_to_json(t)::text as row from ${client.escapeIdentifier(table)} t`);
    for (;;) {
      const { rows } = await client.query<{ row: string }>(`fetch ${ROWS_PER_READ} from rows`);
      // As PostgreSQL wrote it: JSON.parse would round what does not fit a double.
      for (const { row } of rows) yield `{"row":${row}}\n`;
      count += rows.length;
      if (rows.length < ROWS_PER_READ) break;
    }
    await client.query("close rows");
  }
  for (const sequence of await sequencesOf(client)) {
    const { rows } = await client.query<{ last_value: string; is_called: boolean }>(
      `select last_value, is_called from ${client.escapeIdentifier(sequence)}`,
    );
    if (rows[0]) yield text({ sequence, value: rows[0].last_value, called: rows[0].is_called });
  }
  for (const statement of last) yield text({ statement });
  yield text({ end: count });
}

/** True where the schema has a table. Creates the database where it is missing. */
export async function postgresHasTables(url: string, database: string): Promise<boolean> {
  await ensurePostgresDatabase(url, database);
  const client = await connect(url, "fleetgraph-restore");
  try {
    return (await tablesOf(client)).length > 0;
  } finally {
    await client.end();
  }
}

/** Replaces all tables of the schema by those of a dump, in one transaction. */
export async function restorePostgres(file: string, url: string, database: string, epoch: string, force: boolean): Promise<void> {
  // Twice over the file: nothing is touched before it is known to be whole.
  await checkDump(file);
  await ensurePostgresDatabase(url, database);
  const client = await connect(url, "fleetgraph-restore");
  try {
    await client.query("begin");
    const present = await tablesOf(client);
    if (present.length > 0 && !force) throw new Error(`The database ${database} is not empty.`);
    for (const table of present) await client.query(`drop table ${client.escapeIdentifier(table)} cascade`);
    let table = "";
    let batch: string[] = [];
    const flush = async () => {
      if (batch.length === 0) return;
      const name = client.escapeIdentifier(table);
      await client.query(`insert into ${name} select * from json_populate_recordset(null::${name}, $1::json)`, [`[${batch.join(",")}]`]);
      batch = [];
    };
    for await (const text of linesOf(file)) {
      if (text.startsWith('{"row":')) {
        batch.push(text.slice('{"row":'.length, -1));
        if (batch.length >= ROWS_PER_INSERT) await flush();
        continue;
      }
      await flush();
      const line = JSON.parse(text) as Line;
      if ("table" in line) {
        table = line.table;
        for (const statement of line.create) await client.query(statement);
      } else if ("statement" in line) {
        await client.query(line.statement);
      } else if ("sequence" in line) {
        await client.query("select setval($1::regclass, $2::bigint, $3)", [
          client.escapeIdentifier(line.sequence),
          line.value,
          line.called,
        ]);
      }
    }
    const { rowCount } = await client.query("update event_state set epoch = $1", [epoch]);
    if (rowCount !== 1) throw new Error("The copy of the database has no epoch.");
    await client.query("commit");
  } finally {
    // Ends an open transaction without a commit.
    await client.end();
  }
}

async function connect(url: string, name: string): Promise<Client> {
  const limits = { connectionTimeoutMillis: 10_000, lock_timeout: LOCK_TIMEOUT_MS, query_timeout: QUERY_TIMEOUT_MS };
  const client = new Client({ connectionString: url, application_name: name, ...limits });
  // The query under way rejects as well; without a listener a lost connection would end the process.
  client.on("error", () => undefined);
  await client.connect();
  return client;
}

async function checkDump(file: string): Promise<void> {
  const damaged = (why: string) => new Error(`The copy of the database is damaged: ${why}.`);
  let rows = 0;
  let number = 0;
  let end: number | null = null;
  for await (const text of linesOf(file)) {
    number += 1;
    let line: Line;
    try {
      line = JSON.parse(text) as Line;
    } catch {
      throw damaged(`line ${number} cannot be read`);
    }
    if (end !== null) throw damaged("it goes on behind its end");
    if (number === 1) {
      const { format, version } = line as Header;
      if (format !== FORMAT || version !== VERSION) throw damaged("it is not a copy of a PostgreSQL database");
    } else if ("row" in line) rows += 1;
    else if ("end" in line) end = line.end;
  }
  if (end === null) throw damaged("it ends too early");
  if (end !== rows) throw damaged(`it has ${rows} rows instead of ${end}`);
}

/** Split at line feeds alone: readline would split at U+2028 too, which JSON may hold. */
async function* linesOf(file: string): AsyncIterable<string> {
  let rest = "";
  for await (const chunk of createReadStream(file, { encoding: "utf8", highWaterMark: 256 * 1024 })) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}

async function tablesOf(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "select c.relname as name from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind = 'r' order by 1",
  );
  return rows.map(({ name }) => name);
}

async function sequencesOf(client: Client): Promise<string[]> {
  const { rows } = await client.query<{ name: string }>(
    "select c.relname as name from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind = 'S' order by 1",
  );
  return rows.map(({ name }) => name);
}

/** The statements that make a table as the migrations made it: sequences, columns, defaults, constraints, indexes; foreign keys apart. */
async function definitionOf(client: Client, table: string): Promise<{ create: string[]; foreignKeys: string[] }> {
  const name = client.escapeIdentifier(table);
  const { rows: columns } = await client.query<{
    column: string;
    type: string;
    notnull: boolean;
    default: string | null;
    generated: string;
    collation: string | null;
  }>(
    `select a.attname as column, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as notnull,
       pg_get_expr(d.adbin, d.adrelid) as default, a.attidentity::text || a.attgenerated::text as generated,
       case when a.attcollation <> t.typcollation then quote_ident(n.nspname) || '.' || quote_ident(co.collname) end as collation
     from pg_attribute a join pg_type t on t.oid = a.atttypid
     left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
     left join pg_collation co on co.oid = a.attcollation left join pg_namespace n on n.oid = co.collnamespace
     where a.attrelid = $1::regclass and a.attnum > 0 and not a.attisdropped order by a.attnum`,
    [name],
  );
  const odd = columns.find(({ generated }) => generated !== "");
  if (odd) throw new Error(`Column ${table}.${odd.column} is generated, which a backup does not carry.`);
  const { rows: constraints } = await client.query<{ name: string; type: string; definition: string }>(
    "select conname as name, contype as type, pg_get_constraintdef(oid) as definition from pg_constraint where conrelid = $1::regclass order by conname",
    [name],
  );
  const { rows: indexes } = await client.query<{ definition: string }>(
    `select pg_get_indexdef(i.indexrelid) as definition from pg_index i
     where i.indrelid = $1::regclass and not exists (select 1 from pg_constraint c where c.conindid = i.indexrelid)`,
    [name],
  );
  const { rows: sequences } = await client.query<{ sequence: string; column: string }>(
    `select s.relname as sequence, a.attname as column from pg_depend d join pg_class s on s.oid = d.objid and s.relkind = 'S'
     join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid where d.refobjid = $1::regclass`,
    [name],
  );
  const columnTexts = columns.map(({ column, type, notnull, default: value, collation }) =>
    [
      client.escapeIdentifier(column),
      type,
      collation ? `collate ${collation}` : "",
      value ? `default ${value}` : "",
      notnull ? "not null" : "",
    ]
      .filter((part) => part !== "")
      .join(" "),
  );
  const constraintText = (constraint: { name: string; definition: string }) =>
    `constraint ${client.escapeIdentifier(constraint.name)} ${constraint.definition}`;
  // "n": not null, which newer servers list here as well.
  const constraintTexts = constraints.filter(({ type }) => type !== "n" && type !== "f").map(constraintText);
  const foreignKeys = constraints
    .filter(({ type }) => type === "f")
    .map((constraint) => `alter table ${name} add ${constraintText(constraint)}`);
  const create = [
    ...sequences.map(({ sequence }) => `create sequence ${client.escapeIdentifier(sequence)}`),
    `create table ${name} (${[...columnTexts, ...constraintTexts].join(", ")})`,
    ...sequences.map(
      ({ sequence, column }) => `alter sequence ${client.escapeIdentifier(sequence)} owned by ${name}.${client.escapeIdentifier(column)}`,
    ),
    ...indexes.map(({ definition }) => definition),
  ];
  return { create, foreignKeys };
}
