import { composeServices } from "@apollo/composition";
import { isInputObjectType, isObjectType, parse } from "graphql";
import { describe, expect, test } from "vitest";
import { clustersSdl } from "../../../subgraphs/clusters/main.ts";
import { computeSchema } from "../../../subgraphs/compute/schema.ts";
import { nodesSdl } from "../../../subgraphs/nodes/main.ts";

describe("the schema of the compute subgraph", () => {
  const { sdl, schema } = computeSchema();

  test("composes with the other subgraphs without errors and without hints", () => {
    const composed = composeServices([
      { name: "clusters", url: "http://clusters", typeDefs: parse(clustersSdl()) },
      { name: "nodes", url: "http://nodes", typeDefs: parse(nodesSdl()) },
      { name: "compute", url: "http://compute", typeDefs: parse(sdl) },
    ]);
    expect(composed.errors ?? []).toEqual([]);
    expect(composed.hints?.map((hint) => hint.toString())).toEqual([]);
    expect(composed.supergraphSdl).toContain("instanceTotals: NodeInstanceTotals @join__field(graph: COMPUTE)");
  });

  test("adds nothing but nullable fields to the node, and refers to it by nullable ones", () => {
    const node = schema.getType("Node");
    const instance = schema.getType("Instance");
    if (!isObjectType(node) || !isObjectType(instance)) throw new Error("Both are objects.");
    for (const { name, type } of Object.values(node.getFields())) if (name !== "id") expect(String(type), name).not.toMatch(/!$/);
    expect(String(instance.getFields()["node"]?.type)).toBe("Node");
    expect(String(instance.getFields()["stats"]?.type)).toBe("InstanceStats");
  });

  test("says of every number in which unit it is, or what it counts", () => {
    const plain = new Set(["cpuCores", "totalCount", "managed"]);
    const bare: string[] = [];
    for (const type of Object.values(schema.getTypeMap())) {
      if ((!isObjectType(type) && !isInputObjectType(type)) || type.name.startsWith("_") || type === schema.getQueryType()) continue;
      for (const field of Object.values(type.getFields())) {
        const says = field.description || /(Bytes|Seconds|Count|CpuCores)$/.test(field.name) || plain.has(field.name);
        if (/Int|Float/.test(String(field.type)) && !says) bare.push(`${type.name}.${field.name}`);
      }
    }
    expect(bare).toEqual([]);
  });
});
