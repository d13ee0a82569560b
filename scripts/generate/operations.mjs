import { readFileSync } from "node:fs";
import { generate } from "@graphql-codegen/cli";
import { parse } from "yaml";
import { inRoot, ROOT } from "../lib/paths.mjs";

export const OPERATIONS_FOLDER = "schema/generated/operations";

/** The typed operations that codegen.yml describes, against this schema instead of the file it names. */
export async function generateOperations(apiSdl) {
  const config = parse(readFileSync(inRoot("codegen.yml"), "utf8"));
  const outputs = await generate({ ...config, schema: apiSdl, cwd: ROOT, silent: true }, false);
  // gql.ts finds operations that are written inside code; here each has a file of its own and is imported by its name.
  const wanted = outputs.filter(({ filename }) => !filename.endsWith("/gql.ts"));
  return wanted.map(({ filename, content }) => ({ path: filename.replace(`${ROOT}/`, ""), text: content }));
}
