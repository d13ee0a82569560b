// What package.json's scripts run. Starts on any Node.js from 20 on with nothing installed; what it starts runs on the one that npm brings.
import { existsSync } from "node:fs";
import { buildGraphiql, buildTypeScript } from "./build/build.mjs";
import { ensureInstalled } from "./install.mjs";
import { runToEnd } from "./lib/child.mjs";
import { inRoot, program } from "./lib/paths.mjs";

/** Node.js as package-lock.json pins it; where npm has none for this system, the one that runs this. */
function node() {
  const brought = program("node");
  if (existsSync(brought)) return brought;
  const [major] = process.versions.node.split(".").map(Number);
  if (major >= 24) return process.execPath;
  throw new Error(`Node.js 24 is needed; this is ${process.version}, and npm brings none for ${process.platform}-${process.arch}`);
}

const run = (script, ...args) => runToEnd(node(), [inRoot(script), ...args]);

const commands = {
  /** Serves as soon as it can: where GraphiQL is not built yet, that goes on beside it. */
  async start(args) {
    await buildTypeScript(node());
    const graphiql = buildGraphiql(node(), { background: true });
    graphiql.catch((error) => process.stderr.write(`fleetgraph: GraphiQL could not be built: ${error.message}\n`));
    return await run("bin/fleetgraph.mjs", "up", ...args);
  },
  async test(args) {
    await commands.build();
    return await run("node_modules/vitest/vitest.mjs", "run", ...args);
  },
  /** The long tests, each by name. */
  async campaign(args) {
    await commands.build();
    return await run("test/campaigns/main.ts", ...args);
  },
  async build() {
    await buildTypeScript(node());
    await buildGraphiql(node(), {});
    return 0;
  },
  generate: () => run("scripts/generate/main.mjs"),
  check: (args) => run("scripts/check/main.mjs", ...args),
};

const [name, ...args] = process.argv.slice(2);
if (!Object.hasOwn(commands, name ?? "")) {
  process.stderr.write(`usage: node scripts/run.mjs ${Object.keys(commands).join("|")}\n`);
  process.exit(2);
}
try {
  await ensureInstalled();
  process.exit(await commands[name](args));
} catch (error) {
  process.stderr.write(`fleetgraph: ${error.message}\n`);
  process.exit(1);
}
