import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { composeServices } from "@apollo/composition";
import { Supergraph } from "@apollo/federation-internals";
import { parse, printSchema } from "graphql";
import { parse as parseYaml } from "yaml";
import { StartError } from "../process/start-error.ts";

export interface SubgraphSdl {
  name: string;
  sdl: string;
}

export interface Composition {
  /** What the gateway loads. */
  supergraphSdl: string;
  /** What clients see. */
  apiSdl: string;
}

/** Hints that are meant all the same, with the reason. */
const ACCEPTED_FILE = fileURLToPath(new URL("../../schema/accepted.yaml", import.meta.url));

/**
 * Composes the subgraphs. Throws StartError with every error, and with every hint that schema/accepted.yaml does not accept:
 * a hint is how a field silently vanishes.
 */
export function composeSubgraphs(subgraphs: SubgraphSdl[]): Composition {
  const { supergraphSdl, hints, errors } = composeServices(
    subgraphs.map(({ name, sdl }) => ({ name, url: `subgraph://${name}`, typeDefs: parse(sdl) })),
  );
  if (errors !== undefined) throw new StartError(`The subgraphs do not compose:\n  ${errors.map((error) => error.message).join("\n  ")}`);
  const accepted = acceptedHints();
  const refused = hints.map((hint) => `${hint.definition.code}: ${hint.message}`).filter((text) => !accepted.has(text));
  if (refused.length > 0) throw new StartError(`The subgraphs compose with hints that are not accepted:\n  ${refused.join("\n  ")}`);
  return { supergraphSdl, apiSdl: printSchema(Supergraph.build(supergraphSdl).apiSchema().toGraphQLJSSchema()) };
}

function acceptedHints(): Set<string> {
  if (!existsSync(ACCEPTED_FILE)) return new Set();
  const lists = parseYaml(readFileSync(ACCEPTED_FILE, "utf8")) as { compositionHints?: Array<{ text: string }> };
  return new Set((lists.compositionHints ?? []).map(({ text }) => text));
}
