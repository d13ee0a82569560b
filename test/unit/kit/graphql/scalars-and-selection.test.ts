import { GraphQLInt, GraphQLObjectType, type GraphQLResolveInfo, GraphQLSchema, graphqlSync } from "graphql";
import { describe, expect, it } from "vitest";
import { mapIterator } from "../../../../subgraphs/kit/graphql/async-iterators.ts";
import { DateTime, Int64 } from "../../../../subgraphs/kit/graphql/scalars.ts";
import { selectedPaths } from "../../../../subgraphs/kit/graphql/selection.ts";
import { Semaphore } from "../../../../subgraphs/kit/semaphore.ts";

describe("Int64", () => {
  it("is a JSON number on the way out, rounded above 2^53", () => {
    expect(Int64.serialize(5)).toBe(5);
    expect(Int64.serialize(2n ** 63n - 1n)).toBe(2 ** 63);
  });

  it.each(["5", 1.5, Number.NaN, null, true, {}])("refuses %j on both ways", (value) => {
    expect(() => Int64.serialize(value)).toThrow("Int64");
    expect(() => Int64.parseValue(value)).toThrow("Int64");
  });

  it("refuses input that a JSON number cannot hold exactly", () => {
    expect(() => Int64.parseValue(2 ** 53)).toThrow("exact");
    expect(Int64.parseValue(-(2 ** 53 - 1))).toBe(-(2 ** 53 - 1));
  });
});

describe("DateTime", () => {
  it("is ISO 8601 in UTC, whatever zone it came with", () => {
    expect(DateTime.serialize(DateTime.parseValue("2026-03-01T01:00:00+02:00"))).toBe("2026-02-28T23:00:00.000Z");
  });

  it.each(["2026-03-01", "2026-03-01T01:00:00", "2026-13-01T00:00:00Z", "", 0, null])("refuses %j as input", (value) => {
    expect(() => DateTime.parseValue(value)).toThrow("with its zone");
  });
});

describe("selectedPaths", () => {
  function pathsOf(source: string, variableValues = {}): string[] {
    let paths: string[] = [];
    const leaf: GraphQLObjectType = new GraphQLObjectType({
      name: "Thing",
      fields: () => ({ a: { type: GraphQLInt }, b: { type: GraphQLInt }, inner: { type: leaf } }),
    });
    const thing = {
      type: leaf,
      resolve(_source: unknown, _args: unknown, _context: unknown, info: GraphQLResolveInfo) {
        paths = [...selectedPaths(info)].sort();
        return null;
      },
    };
    const schema = new GraphQLSchema({ query: new GraphQLObjectType({ name: "Query", fields: { thing } }) });
    const { errors } = graphqlSync({ schema, source, variableValues });
    if (errors) throw errors[0];
    return paths;
  }

  it("sees through aliases, fragments and fields that are selected twice", () => {
    expect(pathsOf("{ thing { x: a ...F ... on Thing { inner { a } } } thing { inner { y: b } } } fragment F on Thing { b }")).toEqual([
      "a",
      "b",
      "inner",
      "inner.a",
      "inner.b",
    ]);
  });

  it("leaves out what @skip and @include leave out", () => {
    const source = "query ($no: Boolean!) { thing { a @include(if: $no) b @skip(if: true) inner { a ... @include(if: $no) { b } } } }";
    expect(pathsOf(source, { no: false })).toEqual(["inner", "inner.a"]);
    expect(pathsOf(source, { no: true })).toEqual(["a", "inner", "inner.a", "inner.b"]);
  });
});

describe("mapIterator", () => {
  it("returns its source at once while a value is awaited", async () => {
    let returned = false;
    const source: AsyncIterator<number> = {
      next: () => new Promise(() => undefined),
      return: async () => {
        returned = true;
        return { done: true, value: undefined };
      },
    };
    const mapped = mapIterator(source, (value) => value);
    void mapped.next();
    await mapped.return?.();
    expect(returned).toBe(true);
  });

  it("returns its source when the mapping fails", async () => {
    let returned = 0;
    const source: AsyncIterator<number> = {
      next: async () => ({ done: false, value: 1 }),
      return: async () => {
        returned += 1;
        return { done: true, value: undefined };
      },
    };
    const mapped = mapIterator(source, () => {
      throw new Error("no");
    });
    await expect(mapped.next()).rejects.toThrow("no");
    expect(returned).toBe(1);
  });
});

describe("Semaphore", () => {
  it("never runs more than it may, and runs all", async () => {
    const semaphore = new Semaphore(3);
    let most = 0;
    let done = 0;
    const work = async () => {
      most = Math.max(most, semaphore.taken);
      await new Promise(setImmediate);
      done += 1;
    };
    await Promise.all(Array.from({ length: 50 }, () => semaphore.run(work)));
    expect([most, done, semaphore.taken]).toEqual([3, 50, 0]);
  });

  it("lets a waiter leave by its signal, and keeps the permit of one that fails", async () => {
    const semaphore = new Semaphore(1);
    const first = Promise.withResolvers<void>();
    const running = semaphore.run(() => first.promise);
    const leaving = new AbortController();
    const left = semaphore.run(async () => "never", leaving.signal);
    leaving.abort(new Error("left"));
    await expect(left).rejects.toThrow("left");
    first.reject(new Error("failed"));
    await expect(running).rejects.toThrow("failed");
    expect([semaphore.taken, semaphore.waiting]).toEqual([0, 0]);
    await expect(semaphore.run(async () => "next")).resolves.toBe("next");
  });
});
