import { generateFromProtos } from "../generate/from-protos.mjs";
import { compareGenerated } from "../generate/written.mjs";

export async function checkGeneratedFromProtos() {
  demandCurrent(await generateFromProtos());
}

/** Needs a current dist/. Also fails where the subgraphs do not compose, or where composition gives hints. */
export async function checkGeneratedFromCode() {
  const { generateFromCode } = await import("../generate/from-code.mjs");
  demandCurrent(await generateFromCode());
}

function demandCurrent(generated) {
  const differences = compareGenerated(generated);
  if (differences.length > 0) throw new Error(`${differences.join("\n")}\n\`npm run generate\` writes what is generated`);
}
