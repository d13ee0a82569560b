// Writes everything that is generated and checked in: run it after a change of schema/proto, of a subgraph's schema,
// of the operations in test/operations and gateway/graphiql/examples, or of the settings. `npm run check` compares instead.
import { buildTypeScript } from "../build/build.mjs";
import { generateFromCode } from "./from-code.mjs";
import { generateFromProtos } from "./from-protos.mjs";
import { replaceGenerated } from "./written.mjs";

try {
  const protos = await generateFromProtos();
  const changed = replaceGenerated(protos);
  await buildTypeScript(process.execPath);
  changed.push(...replaceGenerated(await generateFromCode()));
  process.stdout.write(changed.length === 0 ? "Everything generated is current.\n" : `${changed.join("\n")}\n`);
} catch (error) {
  process.stderr.write(`generate: ${error.message}\n`);
  process.exitCode = 1;
}
