import { parseArgs } from "node:util";
import { Deployment } from "../support/deployment.ts";
import { seedOfRun } from "../support/random.ts";
import { percentile } from "../support/statistics.ts";
import { temporaryDatabases } from "../support/temporary-databases.ts";
import { runKillCampaign } from "./kill-campaign.ts";

const USAGE = `Usage: npm run campaign -- kill [--kills 20]

  kill   the parts as processes on PostgreSQL and NATS, each killed with SIGKILL so many times under load

SEED=N repeats a run.`;

const { positionals, values } = parseArgs({ allowPositionals: true, options: { kills: { type: "string", default: "20" } } });

async function kill(): Promise<void> {
  const seed = seedOfRun();
  const databases = await temporaryDatabases(["clusters", "nodes"] as const);
  const deployment = await Deployment.create({ databases: databases.urls, nats: "nats://127.0.0.1:4222" });
  console.log(`SEED=${seed}, logs in ${deployment.directory}`);
  await deployment.start();
  const recoveries = await runKillCampaign({ deployment, kills: Number(values.kills), seed, say: (line) => console.log(line) });
  for (const [part, took] of Object.entries(recoveries)) {
    const [p50, max] = [percentile(took, 0.5), Math.max(...took)].map(Math.round);
    console.log(`${part}: ${took.length} kills, back after p50 ${p50} ms, max ${max} ms`);
  }
  await deployment.stop();
  await databases.drop();
  console.log("every client received exactly the log");
}

if (positionals[0] === "kill") await kill();
else {
  console.log(USAGE);
  process.exitCode = positionals.length === 0 ? 0 : 1;
}
