import { randomBytes } from "node:crypto";
import pg from "pg";
import { POSTGRESQL_URL } from "./peer-addresses.ts";

export interface TemporaryDatabases<Name extends string> {
  urls: Record<Name, string>;
  drop(): Promise<void>;
}

/** Fresh PostgreSQL databases on this machine's server, one for each name. */
export async function temporaryDatabases<Name extends string>(names: readonly Name[]): Promise<TemporaryDatabases<Name>> {
  const suffix = randomBytes(4).toString("hex");
  const databases = names.map((name) => [name, `fleetgraph_${name}_${suffix}`] as const);
  const each = async (statement: (database: string) => string) => {
    const client = new pg.Client({ connectionString: POSTGRESQL_URL });
    await client.connect();
    try {
      for (const [, database] of databases) await client.query(statement(database));
    } finally {
      await client.end();
    }
  };
  await each((database) => `CREATE DATABASE ${database}`);
  return {
    urls: Object.fromEntries(databases.map(([name, database]) => [name, urlOf(database)])) as Record<Name, string>,
    drop: () => each((database) => `DROP DATABASE IF EXISTS ${database} WITH (FORCE)`),
  };
}

function urlOf(database: string): string {
  const url = new URL(POSTGRESQL_URL);
  url.pathname = `/${database}`;
  return url.href;
}
