import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Reflector } from "../../../../subgraphs/kit/kubernetes/reflector/reflector.ts";
import type { KubernetesApi } from "../../../../subgraphs/kit/kubernetes/types.ts";
import { CAMPAIGN, inCampaigns } from "../../../support/in-campaigns.ts";
import { TestEtcd } from "../../../support/kubernetes/test-etcd.ts";
import { TestKubernetes } from "../../../support/kubernetes/test-kubernetes.ts";
import { NetworkNamespace } from "../../../support/network-namespace.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { clientOf, followPods, type PodView, putPod, untilEqual, watchPods } from "../../../support/pod-watches.ts";
import { until } from "../../../support/until.ts";

const ROUNDS = CAMPAIGN ? 15 : 1;

describeWithPeers("watching a Kubernetes cluster over a network that fails", ["kubernetes", "network-namespaces"], () => {
  let namespace: NetworkNamespace;
  let etcd: TestEtcd;
  let cluster: TestKubernetes;
  let api: KubernetesApi;
  let reflector: Reflector<PodView>;
  const stop = new AbortController();

  beforeAll(async () => {
    namespace = await NetworkNamespace.create(61);
    etcd = await TestEtcd.start({ namespace });
    cluster = await TestKubernetes.start({ etcd });
    api = clientOf(cluster, { watchGraceMs: 1_000 });
    // A watch that hears nothing is given up after three seconds instead of ten minutes.
    reflector = watchPods(api, { watchSeconds: [2, 2] });
  });
  afterAll(async () => {
    stop.abort();
    reflector?.end(null);
    await api?.close();
    await cluster?.stop();
    await etcd?.stop();
    await namespace?.remove();
  });

  it("is up to date again after packets were dropped without a word", { timeout: 60_000 + ROUNDS * 30_000 }, async () => {
    for (const name of ["kept", "changed", "gone"]) await putPod(cluster, name, "0");
    const view = followPods(() => reflector);
    const following = view.follow(stop.signal);
    await untilEqual(cluster, [view]);
    for (let round = 1; round <= ROUNDS; round += 1) {
      await namespace.cut();
      // As a host that is in there sees it: the cluster is well.
      await cluster.kubectl(["label", "--overwrite", "pod", "changed", `value=${round}`]);
      await cluster.kubectl(["delete", "pod", "gone", "--grace-period=0", "--force", "--wait=false"]);
      await cluster.kubectl(["run", `new-${round}`, "--image=example/main:1", "--labels=value=0"]);
      await until(() => reflector.failure !== null, "the end of the silent watch");
      expect(view.objects.size).toBe(2 + round);
      await namespace.mend();
      await untilEqual(cluster, [view], 20_000);
      await putPod(cluster, "gone", String(round));
      await untilEqual(cluster, [view]);
    }
    expect(view.ends).toEqual([]);
    stop.abort();
    await following;
  });

  inCampaigns("is up to date again after an API server that took connections and said nothing", async () => {
    const view = followPods(() => reflector);
    const over = new AbortController();
    const following = view.follow(over.signal);
    await untilEqual(cluster, [view]);
    cluster.freeze();
    await until(() => reflector.failure !== null, "the end of the silent watch");
    await sleep(500);
    cluster.thaw();
    await putPod(cluster, "changed", "thawed");
    await untilEqual(cluster, [view]);
    expect(view.ends).toEqual([]);
    over.abort();
    await following;
  });
});
