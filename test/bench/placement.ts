import { place } from "../../subgraphs/compute/services/placement.ts";
import type { PlacementNode, PlacementRequest } from "../../subgraphs/compute/services/placement-types.ts";
import { seededRandom } from "../support/random.ts";
import { percentile } from "../support/statistics.ts";

/** Placements per CPU-second over 5,000 nodes: `node test/bench/placement.ts`. Each decision reserves what it found, as creations do. */
const NODES = 5_000;
const DECISIONS = 5_000;
const GIB = 2 ** 30;

function fleet(random: () => number): PlacementNode[] {
  const upTo = (limit: number) => Math.floor(random() * limit);
  return Array.from({ length: NODES }, (_, index) => ({
    nodeId: `node-${index}`,
    hostname: `host-${index}`,
    ready: random() > 0.02,
    maintenance: random() < 0.02,
    simulated: false,
    worker: true,
    region: `region-${index % 4}`,
    zone: `zone-${index % 12}`,
    labels: { rack: `r${index % 100}`, disk: index % 3 === 0 ? "fast" : "slow" },
    supportedTypes: ["vm", "microvm", "container"],
    allocatable: { cpuCores: 256, memoryBytes: 512 * GIB, diskBytes: 8192 * GIB, gpuCount: 0 },
    reserved: { cpuCores: upTo(200), memoryBytes: upTo(400) * GIB, diskBytes: upTo(4096) * GIB, gpuCount: 0 },
  }));
}

const ANYWHERE: PlacementRequest = {
  type: "vm",
  cpuCores: 4,
  memoryBytes: 8 * GIB,
  diskBytes: 50 * GIB,
  gpuCount: 0,
  preferredNodeId: null,
  region: "",
  zone: "",
  nodeLabels: [],
  avoid: new Set(),
  strategy: "spread",
};

const CASES: Record<string, PlacementRequest> = {
  "anywhere, spread": ANYWHERE,
  "anywhere, pack": { ...ANYWHERE, strategy: "pack" },
  "one region, one label": { ...ANYWHERE, region: "region-1", nodeLabels: [["disk", "fast"]] },
};

for (const [name, request] of Object.entries(CASES)) {
  const runs: number[] = [];
  for (let run = 0; run < 6; run += 1) {
    const nodes = fleet(seededRandom(run + 1));
    const byId = new Map(nodes.map((node) => [node.nodeId, node]));
    const before = process.cpuUsage();
    for (let decision = 0; decision < DECISIONS; decision += 1) {
      const placed = place(request, nodes);
      if (!placed.fits) throw new Error("The fleet is full.");
      const { reserved } = byId.get(placed.ranked[0] as string) as PlacementNode;
      reserved.cpuCores += request.cpuCores;
      reserved.memoryBytes += request.memoryBytes;
      reserved.diskBytes += request.diskBytes;
    }
    const { user, system } = process.cpuUsage(before);
    // The first run warms up.
    if (run > 0) runs.push(DECISIONS / ((user + system) / 1e6));
  }
  process.stdout.write(`${name}: ${Math.round(percentile(runs, 0.5))} decisions per CPU-second over ${NODES} nodes\n`);
}
