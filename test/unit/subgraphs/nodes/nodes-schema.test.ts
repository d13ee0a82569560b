import { composeServices } from "@apollo/composition";
import { isObjectType, parse } from "graphql";
import { describe, expect, it } from "vitest";
import { clustersSdl } from "../../../../subgraphs/clusters/main.ts";
import { nodesSchema } from "../../../../subgraphs/nodes/schema.ts";

describe("the schema of the nodes subgraph", () => {
  const { sdl, schema } = nodesSchema();

  it("composes with clusters without errors and without hints", () => {
    const composed = composeServices([
      { name: "clusters", url: "http://clusters", typeDefs: parse(clustersSdl()) },
      { name: "nodes", url: "http://nodes", typeDefs: parse(sdl) },
    ]);
    expect(composed.errors ?? []).toEqual([]);
    expect(composed.hints?.map((hint) => hint.toString())).toEqual([]);
    expect(composed.supergraphSdl).toContain("hardware: NodeHardware @join__field(graph: NODES)");
  });

  it("adds nothing but nullable fields to the node", () => {
    expect(sdl).toMatch(/type Node @key\(fields: "id"\) \{\n {2}id: ID!\n[^}]*hardware: NodeHardware\n\}/);
  });

  it("describes every field that is a number, with its unit or meaning", () => {
    const bare: string[] = [];
    for (const type of Object.values(schema.getTypeMap())) {
      if (!isObjectType(type) || type.name.startsWith("_") || type === schema.getQueryType()) continue;
      for (const field of Object.values(type.getFields())) {
        if (/Int|Float/.test(String(field.type)) && !field.description) bare.push(`${type.name}.${field.name}`);
      }
    }
    expect(bare).toEqual([]);
  });
});
