import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { StartError } from "../process/start-error.ts";

/** The one that comes with this release; beside cli/ both in the sources and in dist/. */
const OWN_SUPERGRAPH = fileURLToPath(new URL("../../schema/graphql/supergraph.graphql", import.meta.url));

/** The composed supergraph that the gateway serves. Throws StartError where the file cannot be read. */
export async function readSupergraph(file: string | null): Promise<string> {
  return readFile(file ?? OWN_SUPERGRAPH, "utf8").catch((error: Error) => {
    throw new StartError(`The supergraph cannot be read: ${error.message}.`, { cause: error });
  });
}
