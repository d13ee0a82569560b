import { print } from "graphql";
import { describe, expect, test } from "vitest";
import { coerceVariables, OperationCache } from "../../../gateway/execution/prepared-operation.ts";
import { prepareSubscription, startPosition } from "../../../gateway/subscriptions/subscription-operation.ts";
import { readSupergraph } from "../../../gateway/supergraph/snapshot.ts";
import { hostsSdl } from "../../support/gateway-subgraphs/hosts.ts";
import { compose } from "../../support/gateway-subgraphs/test-fleet.ts";

const snapshot = readSupergraph(compose([{ name: "hosts", sdl: hostsSdl }]));
const cache = new OperationCache(snapshot, { cachedOperations: 10, documentTokens: 1_000 });
const prepare = (query: string) => prepareSubscription(cache.validate(query, undefined));

describe("A subscription as the gateway runs it", () => {
  test("is the same for all start positions, given as literals, variables or not at all", () => {
    const texts = [
      "subscription { hostEvents { type host { id } } }",
      'subscription { hostEvents(after: "x") { type, host { id } } }',
      "subscription($a: String, $s: Boolean = true) { hostEvents(after: $a, snapshot: $s) { type host { id } } }",
      "subscription { ...F } fragment F on Subscription { hostEvents(snapshot: false) { type host { id } } }",
      "subscription { hostEvents { type } hostEvents { host { id } } }",
    ].map((query) => prepare(query).text);
    expect(new Set(texts).size).toBe(1);
    expect(prepare("subscription($ids: [ID!], $a: String) { hostEvents(ids: $ids, after: $a) { type } }").variableNames).toEqual([
      "ids",
      "fleetAfter",
      "fleetSnapshot",
    ]);
  });

  test("starts where the client's arguments say, with defaults and nulls", () => {
    const start = (query: string, variables = {}) => {
      const valid = cache.validate(query, undefined);
      return startPosition(prepareSubscription(valid), coerceVariables(snapshot, valid.operation, variables));
    };
    expect(start("subscription { hostEvents { type } }")).toEqual({ after: null, snapshot: false });
    expect(start('subscription { hostEvents(after: "c", snapshot: null) { type } }')).toEqual({ after: "c", snapshot: false });
    const query = "subscription($a: String, $s: Boolean = true) { hostEvents(after: $a, snapshot: $s) { type } }";
    expect(start(query)).toEqual({ after: null, snapshot: true });
    expect(start(query, { a: "c", s: false })).toEqual({ after: "c", snapshot: false });
    expect(start("subscription { quiet { number } }")).toEqual({ after: null, snapshot: false });
  });

  test("asks the subgraph for cursor and type under names that the document does not use, and answers without them", () => {
    const { upstream, prepared, resumable } = prepare("subscription { hostEvents { fleetCursor: type host { id } } }");
    expect(resumable?.hidden).toEqual({ cursor: "fleet_Cursor", type: "fleet_Type", after: "fleet_After", snapshot: "fleet_Snapshot" });
    expect(upstream.operation).toContain("fleet_Cursor:cursor");
    expect(print(prepared.context.operation)).not.toContain("fleet_Cursor");
    expect(prepare("subscription { quiet { number } }").upstream.operation).not.toContain("fleet");
  });
});
