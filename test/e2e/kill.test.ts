import { afterAll, beforeAll, expect, test } from "vitest";
import { runKillCampaign } from "../campaigns/kill-campaign.ts";
import { Deployment } from "../support/deployment.ts";
import { NATS_URL } from "../support/peer-addresses.ts";
import { describeWithPeers } from "../support/peers.ts";
import { seedOfRun } from "../support/random.ts";
import { type TemporaryDatabases, temporaryDatabases } from "../support/temporary-databases.ts";

/** The short version of `npm run campaign -- kill`. */
describeWithPeers("the parts as processes on PostgreSQL and NATS", ["postgresql", "nats"], () => {
  let databases: TemporaryDatabases<"clusters" | "nodes" | "compute">;
  let deployment: Deployment;

  beforeAll(async () => {
    databases = await temporaryDatabases(["clusters", "nodes", "compute"]);
    deployment = await Deployment.create({ databases: databases.urls, nats: NATS_URL });
    await deployment.start();
  });

  afterAll(async () => {
    await deployment?.stop();
    await databases?.drop();
  });

  test("each killed under load: the graph comes back, and every client receives exactly the log", async () => {
    const seed = seedOfRun();
    const say = (line: string) => void process.stdout.write(`SEED=${seed} ${line}\n`);
    const recoveries = await runKillCampaign({ deployment, kills: 1, seed, say });
    expect(Object.keys(recoveries).sort()).toEqual(["agent", "clusters", "compute", "gateway", "nodes"]);
  });
});
