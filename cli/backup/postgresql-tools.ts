import { spawn } from "node:child_process";
import { childEnvironment } from "../../platform/config/environment.ts";
import { StartError } from "../process/start-error.ts";

const MAX_STDERR_CHARS = 4000;
const CONNECT_TIMEOUT_SECONDS = "10";

/** Runs one of PostgreSQL's own programs against a database. The password goes by the environment, which other users cannot read. */
export async function runPostgresqlTool(tool: "pg_dump" | "pg_restore", url: string, args: string[]): Promise<void> {
  const child = spawn(tool, args, { stdio: ["ignore", "ignore", "pipe"], env: childEnvironment(connectionVariables(url)) });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    said = (said + chunk).slice(-MAX_STDERR_CHARS);
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", (error: NodeJS.ErrnoException) => {
      const missing = error.code === "ENOENT";
      reject(
        new StartError(missing ? `${tool} is needed for a PostgreSQL database: install the PostgreSQL client programs.` : error.message),
      );
    });
    child.once("close", resolve);
  });
  if (code !== 0) throw new StartError(`${tool} failed:\n${said.trim()}`);
}

function connectionVariables(text: string): Record<string, string> {
  const url = new URL(text);
  const variables: Record<string, string> = {
    PGCONNECT_TIMEOUT: CONNECT_TIMEOUT_SECONDS,
    PGDATABASE: decodeURIComponent(url.pathname.slice(1)),
  };
  const host = url.hostname.replace(/^\[|\]$/g, "") || url.searchParams.get("host");
  if (host) variables.PGHOST = host;
  if (url.port !== "") variables.PGPORT = url.port;
  if (url.username !== "") variables.PGUSER = decodeURIComponent(url.username);
  if (url.password !== "") variables.PGPASSWORD = decodeURIComponent(url.password);
  const sslMode = url.searchParams.get("sslmode");
  if (sslMode) variables.PGSSLMODE = sslMode;
  return variables;
}
