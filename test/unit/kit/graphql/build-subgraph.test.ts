import { composeServices } from "@apollo/composition";
import { parse } from "graphql";
import { describe, expect, it } from "vitest";
import { echoSchema } from "../../../support/echo-subgraph.ts";

describe("buildSubgraph", () => {
  const { sdl, schema } = echoSchema();

  it("imports from federation only what the subgraph uses", () => {
    expect(sdl).toContain('@link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@composeDirective"])');
  });

  it("answers _service with an SDL that holds its own types", () => {
    expect(schema.getQueryType()?.getFields()._service).toBeDefined();
    expect(schema.getType("Thing")).toBeDefined();
  });

  it("composes with a twin, and the supergraph keeps the mark of resumable fields", () => {
    const twin = sdl
      .replaceAll("Thing", "Other")
      .replaceAll(/\bthing/g, "other")
      .replaceAll(/^ {2}(echo|partial|bug|nonNull|slow)\b[^\n]*\n/gm, "");
    const result = composeServices([
      { name: "echo", url: "http://echo", typeDefs: parse(sdl) },
      { name: "twin", url: "http://twin", typeDefs: parse(twin) },
    ]);
    expect(result.errors ?? []).toEqual([]);
    expect(result.hints?.map((hint) => hint.toString()) ?? []).toEqual([]);
    expect(result.supergraphSdl).toMatch(/thingEvents\(after: String\): ThingEvent! @join__field\(graph: ECHO\) @resumable/);
    expect(result.supergraphSdl).toContain("directive @resumable(");
  });
});
