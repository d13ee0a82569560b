import { parseDatabaseUrl } from "../../subgraphs/kit/store/database-url.ts";
import { StartError } from "../process/start-error.ts";
import type { SubgraphName } from "../subgraphs.ts";

/** Of the database that a setting's URL names. Throws StartError. */
export function dialectOf(url: string): "sqlite" | "postgresql" {
  try {
    return parseDatabaseUrl(url).dialect;
  } catch (error) {
    throw new StartError((error as Error).message, { cause: error });
  }
}

/** What the work gives; its failure becomes one line that names the database, for the person at the terminal. */
export async function databaseWork<T>(name: SubgraphName, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    // Node.js leaves the message empty where several addresses of a host refused.
    const { message, code } = error as NodeJS.ErrnoException;
    throw new StartError(`The database of ${name}: ${message || code}`, { cause: error });
  }
}
