import { afterAll, beforeAll, test } from "vitest";
import { runLifecycleCampaign } from "../campaigns/lifecycle-campaign.ts";
import { LifecycleLab } from "../campaigns/lifecycle-lab.ts";
import { describeWithPeers } from "../support/peers.ts";
import { seedOfRun } from "../support/random.ts";

/** The short version of `npm run campaign -- lifecycles`. */
describeWithPeers(
  "instances on PostgreSQL, NATS, libvirt and podman",
  ["postgresql", "nats", "network-namespaces", "libvirt", "podman"],
  () => {
    let lab: LifecycleLab;

    beforeAll(async () => {
      lab = await LifecycleLab.start();
    }, 120_000);

    afterAll(() => lab?.stop());

    test("whatever is killed on their way, they end as what they were asked to be, and nothing is left over", async () => {
      const seed = seedOfRun();
      const say = (line: string) => void process.stdout.write(`SEED=${seed} ${line}\n`);
      const { ask, host, victims } = lab;
      await runLifecycleCampaign({ ask, host, victims, lifecycles: 4, kills: 1, seed, say });
    }, 300_000);
  },
);
