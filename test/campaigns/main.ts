import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { Deployment } from "../support/deployment.ts";
import type { FleetHost } from "../support/fleet-host.ts";
import { NATS_URL } from "../support/peer-addresses.ts";
import { seedOfRun } from "../support/random.ts";
import { percentile } from "../support/statistics.ts";
import { temporaryDatabases } from "../support/temporary-databases.ts";
import { runKillCampaign } from "./kill-campaign.ts";
import { runLifecycleCampaign } from "./lifecycle-campaign.ts";
import { LifecycleLab } from "./lifecycle-lab.ts";
import { runMigrationCampaign } from "./migration-campaign.ts";
import { runScaleCampaign } from "./scale-campaign.ts";

const USAGE = `Usage: npm run campaign -- kill [--kills 20] | events | drivers | hosts | hardware | consoles | lifecycles [--lifecycles 300] [--kills 30] | migrations [--moves 20] | kubernetes | scale [--agents 5000] [--steady 180]

  kill   the parts as processes on PostgreSQL and NATS, each killed with SIGKILL so many times under load
  drivers  the drivers' tests with all of their cases
  hosts    hosts without an agent: the one that stands for them is killed, on every database
  hardware  the rich guest, a real machine under emulation: what is in it, plugged in and out, given to guests; its journal, reboot and shutdown
  consoles  10 MB over each console, the serial lines of guests, too
  lifecycles  VMs, microVMs and containers on a real host, while agent, compute, libvirtd and podman are killed so many times each
  migrations  a busy VM goes there and back between two hosts, and an agent or a libvirtd is killed in the middle of each move
  kubernetes  clusters' clients and watches with all of their cases: 10,000 changes, API servers that are killed, networks that drop packets
  events  the event log's randomised tests with all of their seeds: SIGKILL, lost NATS, clients that reconnect, retention
  scale  simulated agents with a certificate and a connection each; what joining, reporting and coming back cost

SEED=N repeats a run.`;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    kills: { type: "string" },
    lifecycles: { type: "string", default: "300" },
    moves: { type: "string", default: "20" },
    agents: { type: "string", default: "5000" },
    steady: { type: "string", default: "180" },
  },
});

async function kill(): Promise<void> {
  const seed = seedOfRun();
  const databases = await temporaryDatabases(["clusters", "nodes", "compute"] as const);
  const deployment = await Deployment.create({ databases: databases.urls, nats: NATS_URL });
  console.log(`SEED=${seed}, logs in ${deployment.directory}`);
  try {
    await deployment.start();
    const recoveries = await runKillCampaign({ deployment, kills: Number(values.kills ?? 20), seed, say: (line) => console.log(line) });
    for (const [part, took] of Object.entries(recoveries)) {
      const [p50, max] = [percentile(took, 0.5), Math.max(...took)].map(Math.round);
      console.log(`${part}: ${took.length} kills, back after p50 ${p50} ms, max ${max} ms`);
    }
  } finally {
    await deployment.stop();
    await databases.drop();
  }
  console.log("every client received exactly the log");
}

async function lifecycles(): Promise<void> {
  const seed = seedOfRun();
  await using lab = await LifecycleLab.start();
  console.log(`SEED=${seed}, logs in ${lab.deployment.directory}`);
  const { ask, host, victims } = lab;
  const [count, kills] = [Number(values.lifecycles), Number(values.kills ?? 30)];
  await runLifecycleCampaign({ ask, host, victims, lifecycles: count, kills, seed, say: (line) => console.log(line) });
}

async function migrations(): Promise<void> {
  const seed = seedOfRun();
  await using fleet = await ComputeFleet.start({ hosts: [{ containers: false }, { containers: false }] });
  console.log(`SEED=${seed}, logs in ${fleet.directory}`);
  const hosts = fleet.hosts as [FleetHost, FleetHost];
  await hosts[0].host.namespace.connect(hosts[1].host.namespace);
  const moves = Number(values.moves);
  const ask: Parameters<typeof runMigrationCampaign>[0]["ask"] = (query, variables) => fleet.ask(query, variables);
  await runMigrationCampaign({ ask, hosts, moves, seed, say: (line) => console.log(line) });
}

/** The tests themselves, as vitest runs them, with what `npm test` leaves out. */
async function wholeTests(project: string, ...folders: string[]): Promise<void> {
  const vitest = fileURLToPath(new URL("../../node_modules/vitest/vitest.mjs", import.meta.url));
  const child = spawn(process.execPath, [vitest, "run", "--project", project, ...folders], {
    stdio: "inherit",
    env: { ...process.env, FLEETGRAPH_CAMPAIGN: "1" },
  });
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) process.exitCode = code ?? 1;
}

if (positionals[0] === "kill") await kill();
else if (positionals[0] === "events") await wholeTests("integration", "test/integration/kit/events");
else if (positionals[0] === "drivers") {
  await wholeTests(
    "integration",
    "test/integration/agent/drivers",
    "test/integration/agent/volumes",
    "test/integration/agent/libvirt-storage/killed.test.ts",
    "test/integration/support/peers-work.test.ts",
  );
  await wholeTests("unit", "test/unit/agent/instances");
} else if (positionals[0] === "kubernetes") {
  await wholeTests("unit", "test/unit/kit/kubernetes");
  const support = ["test-kubernetes", "kubernetes-helpers"].map((name) => `test/integration/support/${name}.test.ts`);
  await wholeTests("integration", "test/integration/kit/kubernetes", "test/integration/clusters/kubernetes", ...support);
  await wholeTests("e2e", "test/e2e/kubernetes.test.ts");
} else if (positionals[0] === "hosts") {
  await wholeTests("integration", "test/integration/nodes/hosts");
  await wholeTests("e2e", "test/e2e/bridged-host.test.ts");
} else if (positionals[0] === "hardware") {
  const subjects = ["devices", "hardware", "host", "logs", "power"].map((subject) => `test/integration/agent/${subject}`);
  await wholeTests("integration", "test/integration/support/rich-guest.test.ts", ...subjects);
  await wholeTests("e2e", "test/e2e/hardware.test.ts", "test/e2e/rich-host.test.ts");
} else if (positionals[0] === "consoles") {
  await wholeTests("integration", "test/integration/agent/terminal");
  await wholeTests("e2e", "test/e2e/consoles.test.ts");
} else if (positionals[0] === "lifecycles") await lifecycles();
else if (positionals[0] === "migrations") await migrations();
else if (positionals[0] === "scale") {
  await runScaleCampaign({ agents: Number(values.agents), steadySeconds: Number(values.steady), say: (line) => console.log(line) });
} else {
  console.log(USAGE);
  process.exitCode = positionals.length === 0 ? 0 : 1;
}
