import { describe, expect, it } from "vitest";
import { place } from "../../../subgraphs/compute/services/placement.ts";
import type { PlacementNode, PlacementRequest } from "../../../subgraphs/compute/services/placement-types.ts";
import { seededRandom } from "../../support/random.ts";
import { seeds } from "../../support/seeds.ts";

const GIB = 2 ** 30;

function node(nodeId: string, changes: Partial<PlacementNode> = {}): PlacementNode {
  return {
    nodeId,
    hostname: `host-${nodeId}`,
    ready: true,
    maintenance: false,
    simulated: false,
    worker: true,
    region: "eu",
    zone: "a",
    labels: {},
    supportedTypes: ["vm", "container"],
    allocatable: { cpuCores: 16, memoryBytes: 64 * GIB, diskBytes: 1000 * GIB, gpuCount: 0 },
    reserved: { cpuCores: 0, memoryBytes: 0, diskBytes: 0, gpuCount: 0 },
    ...changes,
  };
}

function request(changes: Partial<PlacementRequest> = {}): PlacementRequest {
  return {
    type: "vm",
    cpuCores: 2,
    memoryBytes: 4 * GIB,
    diskBytes: 10 * GIB,
    gpuCount: 0,
    preferredNodeId: null,
    region: "",
    zone: "",
    nodeLabels: [],
    avoid: new Set(),
    strategy: "spread",
    ...changes,
  };
}

const reserved = (cpuCores: number, memoryGib: number) => ({ cpuCores, memoryBytes: memoryGib * GIB, diskBytes: 0, gpuCount: 0 });

/** The nodes that take it, best first; the test fails where none does. */
function ranked(asked: PlacementRequest, nodes: PlacementNode[]): string[] {
  const decision = place(asked, nodes);
  if (!decision.fits) throw new Error(`No node fits: ${JSON.stringify(decision.refusals)}`);
  return decision.ranked;
}

describe("placement", () => {
  const half = node("b", { reserved: reserved(8, 32) });
  const empty = node("a");
  const nearlyFull = node("c", { reserved: reserved(13, 58) });

  it("spreads: the node with the highest mean of free CPU and free memory comes first", () => {
    expect(ranked(request(), [nearlyFull, half, empty])).toEqual(["a", "b", "c"]);
  });

  it("packs on request: the fullest node that still fits comes first", () => {
    expect(ranked(request({ strategy: "pack" }), [empty, half, nearlyFull])).toEqual(["c", "b", "a"]);
  });

  it("takes the preferred node where it fits, however full", () => {
    expect(ranked(request({ preferredNodeId: "c" }), [empty, half, nearlyFull])).toEqual(["c", "a", "b"]);
  });

  it("goes elsewhere where the preferred node does not fit", () => {
    expect(ranked(request({ preferredNodeId: "c", memoryBytes: 8 * GIB }), [empty, half, nearlyFull])).toEqual(["a", "b"]);
  });

  it("takes a node that is filled to the last byte and core", () => {
    expect(ranked(request({ cpuCores: 3, memoryBytes: 6 * GIB }), [nearlyFull])).toEqual(["c"]);
  });

  it.each([
    ["Simulated", { simulated: true }, {}],
    ["NotAWorker", { worker: false }, {}],
    ["RegionMismatch", {}, { region: "us" }],
    ["ZoneMismatch", {}, { zone: "b" }],
    ["TypeNotSupported", { supportedTypes: ["container"] }, {}],
    ["LabelMismatch", { labels: { disk: "slow" } }, { nodeLabels: [["disk", "fast"]] }],
    ["Maintenance", { maintenance: true }, {}],
    ["NotReady", { ready: false }, {}],
    ["AntiAffinity", {}, { avoid: new Set(["x"]) }],
    ["InsufficientCpu", {}, { cpuCores: 17 }],
    ["InsufficientMemory", { reserved: reserved(0, 61) }, {}],
    ["InsufficientDisk", {}, { diskBytes: 1001 * GIB }],
    ["InsufficientGpu", {}, { gpuCount: 1 }],
  ] as const)("says %s of a node that is out for it", (reason, nodeChanges, requestChanges) => {
    const decision = place(request(requestChanges as Partial<PlacementRequest>), [node("x", nodeChanges as Partial<PlacementNode>)]);
    expect(decision).toEqual({
      fits: false,
      refusals: [{ nodeId: "x", hostname: "host-x", reason, message: expect.stringMatching(/^It|^There|^\d/) }],
    });
  });

  it("gives a reason for each node where none fits, and none without nodes", () => {
    const decision = place(request({ cpuCores: 64 }), [empty, node("z", { ready: false })]);
    expect(decision.fits ? [] : decision.refusals.map(({ nodeId, reason }) => [nodeId, reason])).toEqual([
      ["a", "InsufficientCpu"],
      ["z", "NotReady"],
    ]);
    expect(place(request(), [])).toEqual({ fits: false, refusals: [] });
  });

  it("names numbers that can be acted on", () => {
    const decision = place(request({ memoryBytes: 100 * GIB }), [half]);
    expect(decision).toMatchObject({
      refusals: [{ message: `${100 * GIB} bytes of memory are asked for, ${32 * GIB} of ${64 * GIB} are free.` }],
    });
  });

  it("agrees with sorting everything, whatever the order of the nodes", () => {
    const [seed = 0] = seeds("placement", 1);
    const random = seededRandom(seed);
    const upTo = (limit: number) => Math.floor(random() * limit);
    for (let round = 0; round < 200; round += 1) {
      const nodes = Array.from({ length: 1 + upTo(40) }, (_, index) =>
        node(`n${index}`, { ready: random() > 0.2, reserved: reserved(upTo(17), upTo(65)) }),
      );
      const asked = request({ cpuCores: 1 + upTo(6), memoryBytes: (1 + upTo(16)) * GIB, strategy: random() < 0.5 ? "spread" : "pack" });
      const free = ({ allocatable, reserved: taken }: PlacementNode) =>
        ((allocatable.cpuCores - taken.cpuCores - asked.cpuCores) / allocatable.cpuCores +
          (allocatable.memoryBytes - taken.memoryBytes - asked.memoryBytes) / allocatable.memoryBytes) /
        2;
      const direction = asked.strategy === "spread" ? -1 : 1;
      const expected = nodes
        .filter(
          ({ ready, allocatable, reserved: taken }) =>
            ready &&
            taken.cpuCores + asked.cpuCores <= allocatable.cpuCores &&
            taken.memoryBytes + asked.memoryBytes <= allocatable.memoryBytes,
        )
        .sort((a, b) => direction * (free(a) - free(b)) || (a.nodeId < b.nodeId ? -1 : 1))
        .slice(0, 8)
        .map(({ nodeId }) => nodeId);
      const shuffled = nodes.map((value) => ({ value, key: random() })).sort((a, b) => a.key - b.key);
      const decision = place(
        asked,
        shuffled.map(({ value }) => value),
      );
      expect(decision.fits ? decision.ranked : [], `seed ${seed}, round ${round}`).toEqual(expected);
    }
  });
});
