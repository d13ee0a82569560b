import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { FleetError } from "../../../../../platform/errors/fleet-error.ts";
import { openReflector } from "../../../../../subgraphs/kit/kubernetes/reflector/reflector.ts";
import { SharedReflectors, watchCursor } from "../../../../../subgraphs/kit/kubernetes/reflector/shared-reflectors.ts";
import { PODS } from "../../../../../subgraphs/kit/kubernetes/types.ts";
import { failure, ScriptedKubernetes } from "../../../../support/scripted-kubernetes.ts";
import { ALL_OBJECTS, project, QUICK, quietLog, take } from "../../../../support/scripted-reflector.ts";
import { until } from "../../../../support/until.ts";

const view = { name: "things", project };

function target(clusterId: string, labelSelector: string | null = null) {
  return { clusterId, epoch: "1", kind: PODS, filter: { ...ALL_OBJECTS, labelSelector }, view };
}

describe("reflectors that are shared", () => {
  const { signal } = new AbortController();
  let shared = new SharedReflectors({ log: quietLog });

  function cluster(): ScriptedKubernetes {
    const api = new ScriptedKubernetes();
    api.put("a", "1");
    return api;
  }

  function share(options: { maxPerCluster?: number; lingerMs?: number } = {}): SharedReflectors {
    shared = new SharedReflectors({ log: quietLog, limits: QUICK, lingerMs: 30, ...options });
    return shared;
  }

  afterEach(() => shared.stop());

  test("one watch serves all with the same filter, and ends a little after the last", async () => {
    const api = cluster();
    share();
    const events = [
      shared.subscribe(api, target("k1"), { signal }),
      shared.subscribe(api, target("k1"), { snapshot: true, signal }),
    ] as const;
    expect(await take(events[0], 1)).toEqual(["BOOKMARK"]);
    expect(await take(events[1], 2)).toEqual(["ADDED a=1", "BOOKMARK"]);
    expect([api.calls.lists, shared.size]).toEqual([1, 1]);
    await events[0].return?.();
    await sleep(60);
    expect(shared.size).toBe(1);
    await events[1].return?.();
    const back = shared.subscribe(api, target("k1"), { signal });
    await sleep(60);
    expect([api.calls.lists, shared.size]).toEqual([1, 1]);
    await back.return?.();
    await until(() => shared.size === 0 && api.watching === 0, "the end of the watch");
  });

  test("a subscriber whose signal ends it without a further read is counted out, too", async () => {
    const api = cluster();
    const own = new AbortController();
    await take(share().subscribe(api, target("k1"), { signal: own.signal }), 1);
    own.abort();
    await until(() => shared.size === 0);
  });

  test("continues behind a list of one's own without another state in between", async () => {
    const api = cluster();
    const after = watchCursor(target("k1"), String(api.revision));
    api.put("a", "2");
    api.put("a", "3");
    const events = share().subscribe(api, target("k1"), { after, signal });
    expect(await take(events, 2)).toEqual(["MODIFIED a=2", "MODIFIED a=3"]);
    expect(() => shared.subscribe(api, target("k2"), { after, signal })).toThrow("another watch");
    expect(() => shared.subscribe(api, { ...target("k1"), epoch: "2" }, { after, signal })).toThrow("list again");
  });

  test("a cluster has no more watches than it may, where none can be ended for it", async () => {
    const api = cluster();
    share({ maxPerCluster: 2, lingerMs: 60_000 });
    const one = shared.subscribe(api, target("k1", "app=one"), { signal });
    shared.subscribe(api, target("k1", "app=two"), { signal });
    expect(() => shared.subscribe(api, target("k1", "app=three"), { signal })).toThrow(FleetError);
    shared.subscribe(api, target("k2", "app=three"), { signal });
    await one.return?.();
    expect(await take(shared.subscribe(api, target("k1", "app=three"), { signal }), 1)).toEqual(["BOOKMARK"]);
    expect(shared.size).toBe(3);
  });

  test("all of a cluster end with what is told, and those of others do not", async () => {
    const [api, other] = [cluster(), cluster()];
    share();
    const events = shared.subscribe(api, target("k1"), { signal });
    const others = shared.subscribe(other, target("k2"), { signal });
    await take(events, 1);
    await take(others, 1);
    shared.drop("k1", new FleetError("NOT_FOUND", "The cluster was deleted."));
    await expect(events.next()).rejects.toMatchObject({ code: "NOT_FOUND" });
    other.put("a", "2");
    expect(await take(others, 1)).toEqual(["MODIFIED a=2"]);
    expect(shared.size).toBe(1);
    shared.stop();
    await expect(others.next()).rejects.toMatchObject({ code: "DRAINING" });
    expect(() => shared.subscribe(other, target("k2"), { signal })).toThrow("going away");
  });

  test("one that could not be opened is opened anew for the next", async () => {
    const api = cluster();
    api.refusal = failure("FAILED_PRECONDITION", "Forbidden", 403);
    await expect(share().subscribe(api, target("k1"), { signal }).next()).rejects.toMatchObject({ reason: "Forbidden" });
    api.refusal = null;
    expect(await take(shared.subscribe(api, target("k1"), { signal }), 1)).toEqual(["BOOKMARK"]);
  });
});

describe("a reflector that only counts", () => {
  test("reaches a cluster late, and remembers while it does not reach it", async () => {
    const api = new ScriptedKubernetes();
    for (const name of ["a", "b", "c", "d"]) api.put(name, "1");
    api.refusal = failure("FAILED_PRECONDITION", "Forbidden", 403);
    const identity = { stream: "count", epoch: "" };
    const options = { api, kind: PODS, filter: ALL_OBJECTS, identity, metadataOnly: true, persistent: true, log: quietLog, limits: QUICK };
    const counted = openReflector({ ...options, project: () => true });
    await sleep(300);
    expect([counted.ready, counted.failure?.reason]).toEqual([false, "Forbidden"]);
    let told = 0;
    const undo = counted.onChange(() => {
      told += 1;
    });
    api.refusal = null;
    await until(() => counted.size === 4);
    await until(() => api.watching > 0);
    expect(counted.failure).toBeNull();
    api.remove("a");
    api.put("b", "2");
    await until(() => counted.size === 3 && told >= 3);
    undo();
    api.refusal = failure("UNAVAILABLE", "ConnectTimeout", 0);
    api.cut();
    await until(() => counted.failure !== null);
    expect(counted.size).toBe(3);
    counted.end(null);
  });
});
