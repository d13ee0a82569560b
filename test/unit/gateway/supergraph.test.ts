import { describe, expect, test } from "vitest";
import { readSupergraph } from "../../../gateway/supergraph/snapshot.ts";
import { SupergraphHolder } from "../../../gateway/supergraph/supergraph-holder.ts";
import { hostsSdl } from "../../support/gateway-subgraphs/hosts.ts";
import { compose } from "../../support/gateway-subgraphs/test-fleet.ts";

const composed = (sdl: string) => compose([{ name: "hosts", sdl }]);

describe("A supergraph", () => {
  test("tells its subgraphs and which subscriptions can be resumed", () => {
    const { subgraphs, resumable, schema } = readSupergraph(composed(hostsSdl));
    expect(subgraphs).toEqual([{ name: "hosts", url: "http://hosts.invalid/graphql" }]);
    expect([...resumable.values()]).toEqual([
      {
        field: "hostEvents",
        after: "after",
        snapshot: "snapshot",
        cursor: "cursor",
        type: "type",
        afterType: "String",
        snapshotType: "Boolean",
      },
    ]);
    expect(schema.getDirective("resumable")).toBeUndefined();
  });

  test("can name the arguments and fields of a resumable field otherwise, and the directive too", () => {
    const sdl = hostsSdl
      .replaceAll("@resumable", "@canResume")
      .replace('import: ["@canResume"]', 'import: [{ name: "@resumable", as: "@canResume" }]')
      .replace("snapshot: Boolean): HostEvent! @canResume", 'all: Boolean): HostEvent! @canResume(snapshot: "all")');
    expect(readSupergraph(composed(sdl)).resumable.get("hostEvents")).toMatchObject({ after: "after", snapshot: "all" });
  });

  test.each([
    ["an argument that it does not have", "snapshot: Boolean): HostEvent!", "): HostEvent!", /no argument "snapshot"/],
    ["an argument that must be given", "after: String, snapshot", "after: String!, snapshot", /"after" must be nullable/],
    ["a cursor that its event does not have", "cursor: String! host: Host about", "host: Host about", /HostEvent has no field "cursor"/],
  ])("is refused where a resumable field is marked with %s", (_, from, to, message) => {
    expect(() => readSupergraph(composed(hostsSdl.replace(from, to)))).toThrow(message);
  });

  test("is exchanged only for one that can be served", () => {
    const sdl = composed(hostsSdl);
    const holder = new SupergraphHolder(sdl);
    const before = holder.current;
    const swaps: string[] = [];
    holder.onSwap(({ id }) => swaps.push(id));
    for (const bad of ["", "type Query { a: Int }", "{"]) expect(() => holder.swap(bad)).toThrow(/cannot be served/);
    expect(() =>
      holder.swap(`${sdl}\n`, () => {
        throw new Error("no way to a subgraph");
      }),
    ).toThrow("no way");
    expect([holder.current, holder.swap(sdl), swaps]).toEqual([before, false, []]);
    expect(holder.swap(`${sdl}\n`)).toBe(true);
    expect([holder.current === before, swaps, holder.of(before.schema) === before]).toEqual([false, [holder.current.id], true]);
  });
});
