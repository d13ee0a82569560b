import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Argument, Command } from "commander";
import { SUBGRAPHS } from "../subgraphs.ts";

const DOCUMENTS = ["supergraph", "api", ...SUBGRAPHS] as const;

export function schemaCommand(): Command {
  return new Command("schema")
    .description(
      "Print a GraphQL schema of this release: what a subgraph emits, what the gateway loads (supergraph), or what clients see (api).",
    )
    .addArgument(new Argument("[document]", "which one").choices(DOCUMENTS).default("supergraph"))
    .option("--out <folder>", "Write all of them to <document>.graphql in this folder instead")
    .action(async (document: (typeof DOCUMENTS)[number], { out }: { out?: string }) => {
      const documents = await emit();
      if (out === undefined) {
        process.stdout.write(documents[document]);
        return;
      }
      await mkdir(out, { recursive: true });
      for (const [name, sdl] of Object.entries(documents)) {
        const file = join(out, `${name}.graphql`);
        await writeFile(file, sdl);
        process.stdout.write(`${file}\n`);
      }
    });
}

async function emit(): Promise<Record<(typeof DOCUMENTS)[number], string>> {
  const [{ clustersSdl }, { nodesSdl }, { computeSdl }, { composeSubgraphs }] = await Promise.all([
    import("../../subgraphs/clusters/main.ts"),
    import("../../subgraphs/nodes/main.ts"),
    import("../../subgraphs/compute/main.ts"),
    import("../schema/compose.ts"),
  ]);
  const ended = (sdl: string) => (sdl.endsWith("\n") ? sdl : `${sdl}\n`);
  const subgraphs = { clusters: ended(clustersSdl()), nodes: ended(nodesSdl()), compute: ended(computeSdl()) };
  const { supergraphSdl, apiSdl } = composeSubgraphs(Object.entries(subgraphs).map(([name, sdl]) => ({ name, sdl })));
  return { supergraph: ended(supergraphSdl), api: ended(apiSdl), ...subgraphs };
}
