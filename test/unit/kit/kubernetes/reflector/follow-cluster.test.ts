import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import type { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import type { Reflector, ReflectorOptions } from "../../../../../subgraphs/kit/kubernetes/reflector/reflector.ts";
import { failure, ScriptedKubernetes, type ScriptedObject } from "../../../../support/scripted-kubernetes.ts";
import { openScripted, type Shown, shownBy, take, takeEvents } from "../../../../support/scripted-reflector.ts";
import { until } from "../../../../support/until.ts";

describe("following a cluster", () => {
  const stop = new AbortController();
  const opened: Array<Reflector<Shown>> = [];
  const { signal } = stop;

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

  test("lists page by page, then follows what changes", async () => {
    const api = cluster("a", "b", "c", "d", "e", "f", "g");
    const reflector = await follow(api);
    expect(api.calls.lists).toBe(3);
    expect(reflector.size).toBe(7);
    api.put("a", "2");
    api.remove("b");
    api.put("h", "1");
    await until(() => reflector.size === 7 && shownBy(reflector)["h"] === "1");
    expect(shownBy(reflector)).toEqual(api.shown());
  });

  test("asks for smaller pages where objects are large", async () => {
    const api = cluster(...Array.from({ length: 23 }, (_, index) => `thing-${index}`));
    api.largestPage = 60;
    const reflector = await follow(api, { limits: { pageSize: 500 } });
    expect(reflector.size).toBe(23);
    api.largestPage = 4;
    await expect(openScripted(api, { limits: { pageSize: 500 } }).untilReady(signal)).rejects.toMatchObject({ reason: "TooLarge" });
  });

  test("does not tell a change that the projection does not show", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    const events = reflector.subscribe({ signal });
    await take(events, 1);
    api.put("a", "1", "hidden");
    api.put("a", "2", "hidden");
    expect(await take(events, 1)).toEqual(["MODIFIED a=2"]);
  });

  test("tells the last state of what is deleted", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    const events = reflector.subscribe({ signal });
    await take(events, 1);
    api.put("a", "2");
    api.remove("a");
    expect(await take(events, 2)).toEqual(["MODIFIED a=2", "DELETED a=2"]);
  });

  test("goes on where a lost watch was, without a list", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    const events = reflector.subscribe({ signal });
    await take(events, 1);
    for (const value of ["2", "3", "4"]) {
      api.put("a", value);
      expect(await take(events, 1)).toEqual([`MODIFIED a=${value}`]);
      api.cut();
    }
    await until(() => api.calls.watches === 4);
    expect(api.calls.lists).toBe(1);
  });

  test("asks again when the API ends a watch, and not without a pause when it always does at once", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    const ending = setInterval(() => api.cut("END"), 1);
    await sleep(150);
    clearInterval(ending);
    expect(api.calls.watches).toBeLessThan(40);
    api.put("a", "2");
    await until(() => shownBy(reflector)["a"] === "2");
    expect(api.calls.lists).toBe(1);
  });

  test("lists again after 410, and tells the difference only", async () => {
    const api = cluster("kept", "changed", "gone");
    const reflector = await follow(api);
    const events = reflector.subscribe({ signal });
    await take(events, 1);
    api.stall(true);
    api.put("changed", "2");
    api.remove("gone");
    api.put("new", "1");
    api.put("kept", "1", "hidden");
    api.compact();
    api.stall(false);
    api.cut();
    expect(await take(events, 3)).toEqual(["DELETED gone=1", "MODIFIED changed=2", "ADDED new=1"]);
    await until(() => api.watching > 0);
    api.put("new", "2");
    expect(await take(events, 1)).toEqual(["MODIFIED new=2"]);
    expect(shownBy(reflector)).toEqual(api.shown());
  });

  test("lists again when changes come out of their order", async () => {
    const api = cluster("a", "b");
    const reflector = await follow(api);
    const events = reflector.subscribe({ signal });
    await take(events, 1);
    api.stall(true);
    api.put("a", "2");
    api.put("b", "2");
    api.misorder();
    api.stall(false);
    expect((await take(events, 2)).sort()).toEqual(["MODIFIED a=2", "MODIFIED b=2"]);
    await until(() => api.calls.lists === 2);
    api.put("c", "1");
    expect(await take(events, 1)).toEqual(["ADDED c=1"]);
    expect(shownBy(reflector)).toEqual(api.shown());
  });

  test("takes up what a stalled watch has not told when its client gives up", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    api.stall(true);
    api.put("a", "2");
    await sleep(20);
    expect(shownBy(reflector)).toEqual({ a: "1" });
    api.stall(false);
    api.cut(failure("UNAVAILABLE", "RequestTimeout", 504));
    await until(() => shownBy(reflector)["a"] === "2");
  });

  test("ends with the error where the cluster was never reached, and at once where it refuses", async () => {
    const api = cluster("a");
    api.refusal = failure("UNAVAILABLE", "ConnectTimeout", 0);
    const unreachable = openScripted(api);
    await expect(unreachable.subscribe({ signal }).next()).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "ConnectTimeout" });
    await expect(unreachable.untilReady(signal)).rejects.toMatchObject({ reason: "ConnectTimeout" });
    expect(api.calls.lists).toBeGreaterThan(3);
    const before = api.calls.lists;
    api.refusal = failure("FAILED_PRECONDITION", "Forbidden", 403);
    await expect(openScripted(api).subscribe({ signal }).next()).rejects.toMatchObject({ reason: "Forbidden" });
    expect(api.calls.lists).toBe(before + 1);
  });

  test("outlasts any outage once it was ready, and says why it hears nothing", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    const events = reflector.subscribe({ signal });
    await take(events, 1);
    api.refusal = failure("UNAVAILABLE", "ConnectTimeout", 0);
    api.cut();
    await sleep(400);
    expect(reflector.failure).toMatchObject({ reason: "ConnectTimeout" });
    api.put("a", "2");
    api.refusal = null;
    expect(await take(events, 1)).toEqual(["MODIFIED a=2"]);
    expect(reflector.failure).toBeNull();
  });

  test("takes a refusal as passing for a while, then ends with it", async () => {
    const api = cluster("a");
    let ended: FleetError | null = null;
    const reflector = await follow(api, {
      onEnd: (error) => {
        ended = error;
      },
    });
    const events = reflector.subscribe({ signal });
    await take(events, 1);
    api.refusal = failure("FAILED_PRECONDITION", "Forbidden", 403);
    api.cut();
    await sleep(30);
    api.refusal = null;
    await until(() => api.watching > 0);
    api.put("a", "2");
    expect(await take(events, 1)).toEqual(["MODIFIED a=2"]);
    api.refusal = failure("FAILED_PRECONDITION", "Forbidden", 403);
    api.cut();
    await expect(events.next()).rejects.toMatchObject({ reason: "Forbidden" });
    expect(ended).toMatchObject({ reason: "Forbidden" });
  });

  test("ends subscriptions where the cluster's past was undone, and follows it from there", async () => {
    const api = cluster("a");
    const reflector = await follow(api);
    const events = reflector.subscribe({ signal });
    const [bookmark] = await takeEvents(events, 1);
    api.goBack(50);
    api.put("a", "2");
    api.cut(failure("CURSOR_EXPIRED", "Gone", 410));
    await expect(events.next()).rejects.toMatchObject({ code: "CURSOR_EXPIRED", reason: "EpochChanged" });
    expect(shownBy(reflector)).toEqual({ a: "2" });
    await expect(reflector.subscribe({ after: bookmark?.cursor, signal }).next()).rejects.toMatchObject({ reason: "CursorFromFuture" });
  });

  test("holds no more than it may, and says what to do", async () => {
    const api = cluster("a", "b", "c", "d");
    const tooLarge = openScripted(api, { limits: { maxStateBytes: 100 } });
    await expect(tooLarge.subscribe({ signal }).next()).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", reason: "WatchTooLarge" });
    const reflector = await follow(api, { limits: { maxStateBytes: 200 } });
    const events = reflector.subscribe({ signal });
    await take(events, 1);
    api.put("e", "x".repeat(200));
    await expect(take(events, 2)).rejects.toMatchObject({ reason: "WatchTooLarge" });
  });
});
