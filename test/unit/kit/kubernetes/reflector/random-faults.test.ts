import { describe, expect, test } from "vitest";
import { CAMPAIGN } from "../../../../support/in-campaigns.ts";
import { seededRandom, seedOfRun } from "../../../../support/random.ts";
import { failure, ScriptedKubernetes } from "../../../../support/scripted-kubernetes.ts";
import { openScripted, type Shown, shownBy } from "../../../../support/scripted-reflector.ts";
import { until } from "../../../../support/until.ts";
import { WatchedView } from "../../../../support/watched-view.ts";

const STEPS = CAMPAIGN ? 20_000 : 1_500;
const SUBSCRIBERS = 6;

describe("random changes and faults", () => {
  const seed = seedOfRun();

  test(`leave subscribers that move between replicas with the cluster's state, and tell nothing twice (SEED=${seed})`, {
    timeout: 120_000,
  }, async () => {
    const random = seededRandom(seed);
    const pick = (count: number) => Math.floor(random() * count);
    const api = new ScriptedKubernetes();
    for (let index = 0; index < 20; index += 1) api.put(`thing-${index}`, "0");
    const replicas = [openScripted(api, { limits: { maxChanges: 8 } }), openScripted(api)];
    const stop = new AbortController();
    const views = Array.from({ length: SUBSCRIBERS }, () => {
      const view: WatchedView<Shown> = new WatchedView(({ signal, ...from }) => {
        const own = AbortSignal.any([signal, AbortSignal.timeout(1 + pick(30))]);
        return (replicas[pick(2)] as (typeof replicas)[0]).subscribe({ ...from, bookmarkIntervalMs: 5, signal: own });
      });
      return view;
    });
    const following = views.map((view) => view.follow(stop.signal));
    const faults: Array<() => void> = [
      () => api.cut(),
      () => api.cut("END"),
      () => api.compact(),
      () => api.stall(random() < 0.5),
      () => api.passRevision(),
      () => {
        api.refusal = failure("UNAVAILABLE", "ConnectionLost", 503);
      },
      () => {
        api.refusal = null;
      },
    ];
    for (let step = 0; step < STEPS; step += 1) {
      const name = `thing-${pick(30)}`;
      const kind = random();
      if (kind < 0.5) api.put(name, String(step), String(pick(3)));
      else if (kind < 0.6) api.put(name, api.shown()[name] ?? "0", String(step));
      else if (kind < 0.75) api.remove(name);
      else if (kind < 0.85) faults[pick(faults.length)]?.();
      if (random() < 0.1) await new Promise((resolve) => setTimeout(resolve, pick(3)));
    }
    api.refusal = null;
    api.stall(false);
    api.cut();
    const agreed = (view: WatchedView<Shown>) =>
      JSON.stringify(sorted([...view.objects.values()].map(({ name, shown }) => [name, shown]))) ===
      JSON.stringify(sorted(Object.entries(api.shown())));
    await until(() => views.every(agreed), "all views to show what the cluster has", 10_000).finally(() => stop.abort());
    await Promise.all(following);
    for (const replica of replicas) expect(shownBy(replica)).toEqual(api.shown());
    expect(views.flatMap(({ mistakes }) => mistakes)).toEqual([]);
    expect(Math.min(...views.map(({ events }) => events))).toBeGreaterThan(50);
    for (const replica of replicas) replica.end(null);
  });
});

function sorted(entries: string[][]): string[][] {
  return entries.sort(([one = ""], [other = ""]) => one.localeCompare(other));
}
