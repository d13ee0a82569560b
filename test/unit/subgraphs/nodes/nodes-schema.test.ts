import { composeServices } from "@apollo/composition";
import { type GraphQLObjectType, getNamedType, isNonNullType, isObjectType, parse } from "graphql";
import { describe, expect, it } from "vitest";
import { clustersSdl } from "../../../../subgraphs/clusters/main.ts";
import { computeSdl } from "../../../../subgraphs/compute/main.ts";
import { nodesSchema } from "../../../../subgraphs/nodes/schema.ts";

const NUMBERS = new Set(["Int", "Int64", "Float"]);

describe("the schema of the nodes subgraph", () => {
  const { sdl, schema } = nodesSchema();

  it("composes with clusters and compute without errors and without hints", () => {
    const composed = composeServices([
      { name: "clusters", url: "http://clusters", typeDefs: parse(clustersSdl()) },
      { name: "compute", url: "http://compute", typeDefs: parse(computeSdl()) },
      { name: "nodes", url: "http://nodes", typeDefs: parse(sdl) },
    ]);
    expect(composed.errors ?? []).toEqual([]);
    expect(composed.hints?.map((hint) => hint.toString())).toEqual([]);
    expect(composed.supergraphSdl).toContain("hardware: NodeHardware @join__field(graph: NODES)");
  });

  it("adds nothing but nullable fields to the node", () => {
    const added = Object.values((schema.getType("Node") as GraphQLObjectType).getFields()).filter(({ name }) => name !== "id");
    expect(added.map(({ name }) => name)).toEqual(expect.arrayContaining(["hardware", "host", "pciDevices", "network", "disks"]));
    expect(added.filter(({ type }) => isNonNullType(type)).map(({ name }) => name)).toEqual([]);
  });

  it("describes every field that is a number, with its unit or meaning", () => {
    const bare: string[] = [];
    for (const type of Object.values(schema.getTypeMap())) {
      if (!isObjectType(type) || type.name.startsWith("_") || type === schema.getQueryType()) continue;
      for (const field of Object.values(type.getFields())) {
        if (NUMBERS.has(getNamedType(field.type).name) && !field.description) bare.push(`${type.name}.${field.name}`);
      }
    }
    expect(bare).toEqual([]);
  });
});
