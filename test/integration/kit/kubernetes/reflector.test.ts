import { afterAll, beforeAll, expect, it } from "vitest";
import { cursorAt } from "../../../../subgraphs/kit/kubernetes/reflector/position.ts";
import type { Reflector } from "../../../../subgraphs/kit/kubernetes/reflector/reflector.ts";
import { CAMPAIGN } from "../../../support/in-campaigns.ts";
import { interruptible } from "../../../support/interruptible-kubernetes.ts";
import { TestKubernetes } from "../../../support/kubernetes/test-kubernetes.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { clientOf, followPods, listPods, type PodView, putPod, removePod, untilEqual, watchPods } from "../../../support/pod-watches.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { takeEvents } from "../../../support/scripted-reflector.ts";
import { until } from "../../../support/until.ts";
import type { WatchedView } from "../../../support/watched-view.ts";

const CHANGES = CAMPAIGN ? 10_000 : 320;
const KILLS = CAMPAIGN ? 8 : 0;
const CONCURRENCY = 8;
const SUBSCRIBERS = 4;

describeWithPeers("watching a Kubernetes cluster", "kubernetes", () => {
  const seed = seedOfRun();
  let cluster: TestKubernetes;
  const stop = new AbortController();
  const { signal } = stop;
  const cleanUp: Array<() => unknown> = [];

  beforeAll(async () => {
    // Without the cache, what etcd has compacted is gone at once.
    cluster = await TestKubernetes.start({ watchCache: false });
  });
  afterAll(async () => {
    stop.abort();
    for (const clean of cleanUp) await clean();
    await cluster?.stop();
  });

  function open() {
    const client = interruptible(clientOf(cluster));
    const reflector = watchPods(client.api);
    cleanUp.push(
      () => reflector.end(null),
      () => client.api.close(),
    );
    return { client, reflector };
  }

  function follow(...[replicas, leaveAfterMs]: Parameters<typeof followPods>): WatchedView<PodView> {
    const view = followPods(replicas, leaveAfterMs);
    void view.follow(signal);
    return view;
  }

  it("tells what is there and what changes, and goes on behind each cursor", async () => {
    await putPod(cluster, "one", "1");
    const { client, reflector } = open();
    const view = follow(() => reflector);
    await putPod(cluster, "two", "1");
    await putPod(cluster, "two", "2");
    await removePod(cluster, "one");
    await untilEqual(cluster, [view]);
    expect([...view.objects.values()]).toMatchObject([{ name: "two", value: "2" }]);
    expect(client.calls.lists).toBe(1);
    const late = watchPods(client.api);
    cleanUp.push(() => late.end(null));
    await late.untilReady(signal);
    // What the new one has not seen, it takes from what the cluster remembers.
    for (let told = 1; told < view.latest.length; told += 1) {
      const again = followPods(() => late);
      for (const event of view.latest.slice(0, told)) again.take(event);
      const events = late.subscribe({ after: again.cursor, signal, bookmarkIntervalMs: 20 });
      const inSnapshot = told < view.latest.findIndex(({ type }) => type === "BOOKMARK") + 1;
      for (let bookmarks = inSnapshot ? 2 : 1; bookmarks > 0; ) {
        const [event] = await takeEvents(events, 1);
        if (event?.type === "BOOKMARK") bookmarks -= 1;
        if (event) again.take(event);
      }
      await events.return?.();
      expect(again.mistakes).toEqual([]);
      expect([...again.objects.values()]).toEqual([...view.objects.values()]);
    }
  });

  it("lists again when the cluster has forgotten, and tells the difference only", async () => {
    const { client, reflector } = open();
    for (const name of ["kept", "changed", "gone"]) await putPod(cluster, name, "1");
    const view = follow(() => reflector);
    await untilEqual(cluster, [view]);
    await reflector.untilReady(signal);
    const before = view.latest.length;
    client.interrupt();
    await putPod(cluster, "changed", "2");
    await removePod(cluster, "gone");
    await putPod(cluster, "new", "1");
    await putPod(cluster, "fleeting", "1");
    await removePod(cluster, "fleeting");
    await cluster.compact();
    client.resume();
    await untilEqual(cluster, [view]);
    expect(client.calls.lists).toBe(2);
    const told = view.latest.slice(before).filter(({ object }) => object);
    // What is gone first, the rest in the order of uids.
    expect(told[0]?.type).toBe("DELETED");
    expect(told.map(({ type, object }) => `${type} ${object?.name}`).sort()).toEqual(["ADDED new", "DELETED gone", "MODIFIED changed"]);
    await putPod(cluster, "new", "2");
    await untilEqual(cluster, [view]);
    expect(view.ends).toEqual([]);
  });

  it("says so where a cursor's past is forgotten or its future has not come", async () => {
    const { reflector } = open();
    await reflector.untilReady(signal);
    const expectExpired = async (revision: number, reason: string) => {
      const after = cursorAt({ stream: "pods", epoch: "1" }, revision);
      await expect(reflector.subscribe({ after, signal }).next()).rejects.toMatchObject({ code: "CURSOR_EXPIRED", reason });
    };
    await expectExpired(1, "EventsCompacted");
    await expectExpired(1_000_000_000, "CursorFromFuture");
  });

  it("outlasts an API server that is killed", async () => {
    const { reflector } = open();
    const view = follow(() => reflector);
    await untilEqual(cluster, [view]);
    await cluster.kill();
    await until(() => reflector.failure !== null, "the loss");
    await cluster.start();
    await putPod(cluster, "new", "after the kill");
    await removePod(cluster, "kept");
    await untilEqual(cluster, [view]);
    expect(reflector.failure).toBeNull();
    expect(view.ends).toEqual([]);
  });

  it(`shows every subscriber the final state after ${CHANGES} changes, ${KILLS} kills, compactions and lost connections (SEED=${seed})`, {
    timeout: 580_000,
  }, async () => {
    const random = seededRandom(seed);
    const pick = (count: number) => Math.floor(random() * count);
    const replicas = [open(), open()] as const;
    const anyReplica = (): Reflector<PodView> => (replicas[pick(2)] ?? replicas[0]).reflector;
    const views = Array.from({ length: SUBSCRIBERS }, (_, index) =>
      follow(anyReplica, index === 0 ? null : () => 50 + pick(CAMPAIGN ? 5_000 : 500)),
    );
    const every = Math.floor(CHANGES / (KILLS + 1));
    for (let done = 0; done < CHANGES; done += CONCURRENCY) {
      await Promise.all(
        Array.from({ length: CONCURRENCY }, async (_, lane) => {
          const name = `random-${lane}-${pick(10)}`;
          if (random() < 0.25) await removePod(cluster, name);
          else await putPod(cluster, name, String(done));
        }),
      );
      if (random() < 0.02) await cluster.compact();
      if (random() < 0.04) replicas[pick(2)]?.client.interrupt();
      if (random() < 0.1) for (const { client } of replicas) client.resume();
      if (Math.floor(done / every) < Math.floor((done + CONCURRENCY) / every) && done + CONCURRENCY < CHANGES) {
        await cluster.kill();
        await cluster.start();
      }
    }
    for (const { client } of replicas) client.resume();
    await untilEqual(cluster, views);
    for (const { reflector } of replicas) expect(reflector.size).toBe((await listPods(cluster)).length);
    expect(Math.min(...views.map(({ events }) => events))).toBeGreaterThan(CHANGES / 20);
    expect(views[0]?.ends).toEqual([]);
  });
});
