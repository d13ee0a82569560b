import { resolve } from "node:path";

export type DatabaseAddress = { dialect: "sqlite"; file: string } | { dialect: "postgresql"; url: string; database: string };

/**
 * Reads `sqlite:/path/file.db` (a relative path counts from the working directory) or `postgresql://user@host:port/database`.
 * @throws Error that names what is wrong, never the password in the URL.
 */
export function parseDatabaseUrl(url: string): DatabaseAddress {
  if (url.startsWith("sqlite:")) {
    const file = url.slice("sqlite:".length);
    if (file === "" || file.includes(":memory:")) {
      throw new Error("A SQLite database needs a file (sqlite:/path/file.db): readers and the backup open it a second time.");
    }
    return { dialect: "sqlite", file: resolve(file) };
  }
  if (/^postgres(ql)?:\/\//.test(url)) {
    const parsed = URL.parse(url);
    const database = parsed ? decodeURIComponent(parsed.pathname.slice(1)) : "";
    if (database === "") throw new Error("A PostgreSQL URL needs a database name: postgresql://user@host:5432/database.");
    return { dialect: "postgresql", url, database };
  }
  throw new Error("A database URL starts with sqlite: or postgresql://.");
}
