// `npm run check`: everything that can be judged without running the tests. Names of steps as arguments run those alone.
import { buildTypeScript } from "../build/build.mjs";
import { graphBreaks, protoBreaks } from "./breaking.mjs";
import { checkGeneratedFromCode, checkGeneratedFromProtos } from "./generated.mjs";
import { checkLockfile } from "./lockfile.mjs";
import { checkFormatAndLint, checkImports, checkProtoStyle, checkTypes, checkUnused } from "./tools.mjs";

/** In order. A step throws an Error whose message is what to show; what it returns, if anything, is a remark. */
const STEPS = {
  types: checkTypes,
  lint: checkFormatAndLint,
  imports: checkImports,
  unused: checkUnused,
  lockfile: checkLockfile,
  "proto-style": checkProtoStyle,
  "proto-generated": checkGeneratedFromProtos,
  "proto-breaks": protoBreaks,
  build: () => buildTypeScript(process.execPath),
  "graph-generated": checkGeneratedFromCode,
  "graph-breaks": graphBreaks,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !Object.hasOwn(STEPS, name));
if (unknown.length > 0) {
  process.stderr.write(`check: no step ${unknown.join(", ")}; there are ${Object.keys(STEPS).join(", ")}\n`);
  process.exit(2);
}

const failed = [];
for (const [name, step] of Object.entries(STEPS)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const startedAt = performance.now();
  const line = (verdict, remark) => {
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
    process.stdout.write(`${verdict.padEnd(6)} ${name.padEnd(16)} ${seconds.padStart(5)} s${remark ? `  ${remark}` : ""}\n`);
  };
  try {
    line("ok", await step());
  } catch (error) {
    failed.push(name);
    line("FAILED");
    process.stdout.write(`${error.message.replace(/^/gm, "    ")}\n`);
  }
}
process.stdout.write(failed.length === 0 ? "check: all is well\n" : `check: ${failed.length} failed: ${failed.join(", ")}\n`);
process.exitCode = failed.length === 0 ? 0 : 1;
