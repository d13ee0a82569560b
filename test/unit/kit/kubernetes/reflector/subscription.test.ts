import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { cursorAt } from "../../../../../subgraphs/kit/kubernetes/reflector/position.ts";
import type { Reflector, ReflectorOptions } from "../../../../../subgraphs/kit/kubernetes/reflector/reflector.ts";
import { ScriptedKubernetes, type ScriptedObject } from "../../../../support/scripted-kubernetes.ts";
import { brief, openScripted, type Shown, take, takeEvents } from "../../../../support/scripted-reflector.ts";
import { until } from "../../../../support/until.ts";

const IDENTITY = { stream: "things", epoch: "1" };

describe("a subscription to a watched cluster", () => {
  const { signal } = new AbortController();
  const opened: Array<Reflector<Shown>> = [];

  afterEach(() => {
    for (const reflector of opened.splice(0)) reflector.end(null);
  });

  async function follow(api: ScriptedKubernetes, options: Partial<ReflectorOptions<ScriptedObject, Shown>> = {}) {
    const reflector = openScripted(api, options);
    opened.push(reflector);
    await reflector.untilReady(signal);
    await until(() => api.watching > 0, "the watch");
    return reflector;
  }

  function cluster(...names: string[]): ScriptedKubernetes {
    const api = new ScriptedKubernetes();
    for (const name of names) api.put(name, "1");
    return api;
  }

  /** A gap in what the reflector knows, over which only the difference is told. */
  async function tellDifference(api: ScriptedKubernetes, change: () => void): Promise<void> {
    const lists = api.calls.lists;
    api.stall(true);
    change();
    api.compact();
    api.stall(false);
    api.cut();
    await until(() => api.calls.lists > lists && api.watching > 0, "the new list");
  }

  test("begins with its position, or with what there is", async () => {
    const api = cluster("a", "b");
    const reflector = await follow(api);
    const [now] = await takeEvents(reflector.subscribe({ signal }), 1);
    expect(now).toMatchObject({ type: "BOOKMARK", cursor: cursorAt(IDENTITY, api.revision), object: null });
    const events = reflector.subscribe({ snapshot: true, signal });
    expect(await take(events, 3)).toEqual(["ADDED a=1", "ADDED b=1", "BOOKMARK"]);
    api.put("a", "2");
    expect(await take(events, 1)).toEqual(["MODIFIED a=2"]);
  });

  test("says where it is when nothing happens", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    const events = reflector.subscribe({ signal, bookmarkIntervalMs: 20 });
    expect(await take(events, 3)).toEqual(["BOOKMARK", "BOOKMARK", "BOOKMARK"]);
    api.put("a", "2");
    const found = await takeEvents(events, 2);
    expect(found.map(brief)).toContain("MODIFIED a=2");
  });

  test("continues behind any cursor without gap or repeat, also behind one of another replica", async () => {
    const api = cluster("a");
    const [one, other] = [await follow(api), await follow(api)];
    const events = one.subscribe({ snapshot: true, signal });
    const told = await takeEvents(events, 2);
    for (const value of ["2", "3", "4", "5"]) api.put("a", value);
    told.push(...(await takeEvents(events, 4)));
    await until(() => other.get("uid-0001")?.shown === "5");
    for (const [index, { cursor }] of told.entries()) {
      if (index === 0) continue;
      const rest = other.subscribe({ after: cursor, signal });
      const expected = told.slice(index + 1);
      const found = await takeEvents(rest, expected.length);
      expect(found.map((event) => [brief(event), event.cursor])).toEqual(expected.map((event) => [brief(event), event.cursor]));
      await rest.return?.();
    }
  });

  test("continues from what the cluster knows where the changes are no longer kept", async () => {
    const api = cluster("a", "b", "c");
    const reflector = await follow(api, { limits: { maxChanges: 2 } });
    const [start] = await takeEvents(reflector.subscribe({ signal }), 1);
    api.remove("a");
    for (const value of ["2", "3", "4", "5"]) api.put("b", value);
    api.put("d", "1");
    await until(() => reflector.get("uid-0004") !== null);
    const events = reflector.subscribe({ after: start?.cursor, signal });
    const told = await takeEvents(events, 3);
    expect(told.map(brief)).toEqual(["DELETED a=1", "MODIFIED b=5", "ADDED d=1"]);
    api.put("e", "1");
    expect(await take(events, 1)).toEqual(["ADDED e=1"]);
    // Cut in the middle of the difference: the rest, then what came since.
    const rest = reflector.subscribe({ after: told[0]?.cursor, signal });
    expect(await take(rest, 3)).toEqual(["MODIFIED b=5", "ADDED d=1", "ADDED e=1"]);
  });

  test("continues a snapshot that was cut in the middle, as it was then", async () => {
    const api = cluster("a", "b", "c");
    const reflector = await follow(api);
    const [first] = await takeEvents(reflector.subscribe({ snapshot: true, signal }), 1);
    api.put("b", "2");
    api.remove("a");
    await until(() => reflector.size === 2);
    const rest = reflector.subscribe({ after: first?.cursor, signal });
    expect(await take(rest, 5)).toEqual(["ADDED b=1", "ADDED c=1", "BOOKMARK", "MODIFIED b=2", "DELETED a=1"]);
    const elsewhere = await follow(api);
    const other = elsewhere.subscribe({ after: first?.cursor, signal });
    expect(await take(other, 5)).toEqual(["ADDED b=1", "ADDED c=1", "BOOKMARK", "DELETED a=1", "MODIFIED b=2"]);
  });

  test("continues within a difference that was told to all", async () => {
    const api = cluster("a", "b", "c");
    const reflector = await follow(api);
    const events = reflector.subscribe({ signal });
    await take(events, 1);
    await tellDifference(api, () => {
      for (const name of ["a", "b", "c"]) api.put(name, "2");
    });
    const told = await takeEvents(events, 3);
    const rest = reflector.subscribe({ after: told[0]?.cursor, signal });
    expect(await take(rest, 2)).toEqual(["MODIFIED b=2", "MODIFIED c=2"]);
    const elsewhere = (await follow(api)).subscribe({ after: told[0]?.cursor, signal });
    await expect(elsewhere.next()).rejects.toMatchObject({ code: "CURSOR_EXPIRED", reason: "EventsCompacted" });
  });

  test("knows nothing between two lists, though it knows what is before and behind", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    await tellDifference(api, () => {
      api.put("fleeting", "1");
      api.remove("fleeting");
    });
    const between = reflector.subscribe({ after: cursorAt(IDENTITY, api.revision - 1), signal });
    await expect(between.next()).rejects.toMatchObject({ code: "CURSOR_EXPIRED" });
    const before = reflector.subscribe({ after: cursorAt(IDENTITY, api.revision - 2), signal });
    api.put("a", "2");
    expect(await take(before, 1)).toEqual(["MODIFIED a=2"]);
  });

  test("waits where a replica is behind the cursor", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    api.stall(true);
    api.put("a", "2");
    api.put("a", "3");
    const events = reflector.subscribe({ after: cursorAt(IDENTITY, api.revision), signal });
    const next = take(events, 1);
    await sleep(20);
    api.stall(false);
    api.put("a", "4");
    expect(await next).toEqual(["MODIFIED a=4"]);
  });

  test("begins at the cursor where it is the first to watch", async () => {
    const api = cluster("a");
    const after = cursorAt(IDENTITY, api.revision);
    api.put("a", "2");
    api.put("a", "3");
    const reflector = await follow(api, { startAt: api.revision - 2 });
    expect(await take(reflector.subscribe({ after, signal }), 2)).toEqual(["MODIFIED a=2", "MODIFIED a=3"]);
    api.compact();
    const late = await follow(api, { startAt: api.revision - 2 });
    await expect(late.subscribe({ after, signal }).next()).rejects.toMatchObject({ code: "CURSOR_EXPIRED" });
    expect(late.size).toBe(1);
  });

  test("takes no other state for the one that the cluster was asked for", async () => {
    const api = cluster("a");
    const reflector = await follow(api, { limits: { maxChanges: 1 } });
    const after = cursorAt(IDENTITY, api.revision);
    for (const value of ["2", "3", "4"]) api.put("a", value);
    await until(() => reflector.get("uid-0001")?.shown === "4");
    api.knowsExactly = false;
    await expect(reflector.subscribe({ after, signal }).next()).rejects.toMatchObject({ code: "CURSOR_EXPIRED" });
    api.knowsExactly = true;
    expect(await take(reflector.subscribe({ after, signal }), 1)).toEqual(["MODIFIED a=4"]);
  });

  test("refuses what is no cursor of its own", async () => {
    const reflector = await follow(cluster("a"));
    const refusal = async (after: string) =>
      FleetError.from(
        await reflector
          .subscribe({ after, signal })
          .next()
          .catch((error) => error),
      );
    for (const after of ["", "x", "e30", Buffer.from("[1]").toString("base64url"), "x".repeat(5_000)]) {
      expect(await refusal(after)).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "after" } });
    }
    expect(await refusal(cursorAt({ ...IDENTITY, stream: "others" }, 1))).toMatchObject({ code: "INVALID_ARGUMENT" });
    expect(await refusal(cursorAt({ ...IDENTITY, epoch: "2" }, 1))).toMatchObject({ code: "CURSOR_EXPIRED", reason: "EpochChanged" });
    expect(await refusal(cursorAt(IDENTITY, 1e9))).toMatchObject({ code: "CURSOR_EXPIRED", reason: "CursorFromFuture" });
  });

  test("ends one that is too slow, and no other", async () => {
    const api = cluster("a");
    const reflector = await follow(api, { limits: { maxChanges: 10 } });
    const [slow, quick] = [reflector.subscribe({ signal }), reflector.subscribe({ signal })];
    await take(slow, 1);
    await take(quick, 1);
    for (let value = 2; value < 30; value += 1) {
      api.put("a", String(value));
      expect(await take(quick, 1)).toEqual([`MODIFIED a=${value}`]);
    }
    await expect(take(slow, 28)).rejects.toMatchObject({ code: "SLOW_CONSUMER" });
    expect(reflector.subscribers).toBe(1);
  });

  test("ends at once by return, signal, or with the reflector, also while nothing happens", async () => {
    const api = cluster("a");
    const reflector = await follow(api, { limits: { maxSubscribers: 3 } });
    const own = new AbortController();
    const events = [reflector.subscribe({ signal }), reflector.subscribe({ signal: own.signal }), reflector.subscribe({ signal })] as const;
    for (const each of events) await take(each, 1);
    await expect(reflector.subscribe({ signal }).next()).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    const pending = events.map((each) => each.next());
    await events[0].return?.();
    expect(await pending[0]).toEqual({ done: true, value: undefined });
    own.abort();
    expect(await pending[1]).toEqual({ done: true, value: undefined });
    expect(reflector.subscribers).toBe(1);
    reflector.end(new FleetError("FAILED_PRECONDITION", "The cluster is disabled.", { reason: "ClusterDisabled" }));
    await expect(pending[2]).rejects.toMatchObject({ reason: "ClusterDisabled" });
    expect(await events[2].next()).toEqual({ done: true, value: undefined });
    await expect(reflector.subscribe({ signal }).next()).rejects.toMatchObject({ reason: "ClusterDisabled" });
    await until(() => api.watching === 0, "the end of the watch");
  });
});
