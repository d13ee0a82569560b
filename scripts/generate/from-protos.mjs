import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mustRun } from "../lib/child.mjs";
import { program } from "../lib/paths.mjs";

const TYPES = "schema/generated/proto";
const DESCRIPTORS = "schema/generated/hypervisor.binpb";

/** TypeScript and the descriptor set (which gRPC reflection serves) from schema/proto. */
export async function generateFromProtos() {
  const folder = mkdtempSync(join(tmpdir(), "fleetgraph-generate-"));
  try {
    await mustRun(program("buf"), ["generate", "--output", folder]);
    await mustRun(program("buf"), ["build", "schema/proto", "--as-file-descriptor-set", "--output", join(folder, DESCRIPTORS)]);
    const files = new Map();
    for (const path of filesBelow(folder, TYPES)) files.set(path, readFileSync(join(folder, path)));
    files.set(DESCRIPTORS, readFileSync(join(folder, DESCRIPTORS)));
    return { owned: [TYPES, DESCRIPTORS], files };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function filesBelow(root, path) {
  if (!statSync(join(root, path)).isDirectory()) return [path];
  return readdirSync(join(root, path)).flatMap((name) => filesBelow(root, join(path, name)));
}
