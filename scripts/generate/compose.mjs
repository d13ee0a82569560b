import { composeServices } from "@apollo/composition";
import { buildSupergraphSchema } from "@apollo/federation-internals";
import { parse, printSchema } from "graphql";
import { accepted } from "../lib/accepted.mjs";

/**
 * Composes what the gateway loads (`supergraphSdl`) and what clients see (`apiSdl`). Throws on errors and, because a hint is how a
 * field silently vanishes or a type drifts, on every hint that schema/accepted.yaml does not accept.
 */
export function composeSupergraph(subgraphs) {
  const { supergraphSdl, hints, errors } = composeServices(
    subgraphs.map(({ name, sdl }) => ({ name, url: `subgraph://${name}`, typeDefs: parse(sdl) })),
  );
  if (errors?.length) throw new Error(`the subgraphs do not compose\n${errors.map((error) => error.message).join("\n")}`);
  const refused = hints.map((hint) => `${hint.definition.code}: ${hint.message}`).filter((text) => !accepted("compositionHints", text));
  if (refused.length > 0) throw new Error(`composition gives hints that schema/accepted.yaml does not accept\n${refused.join("\n")}`);
  const [supergraph] = buildSupergraphSchema(supergraphSdl);
  return { supergraphSdl, apiSdl: printSchema(supergraph.toAPISchema().toGraphQLJSSchema()) };
}
