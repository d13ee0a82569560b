import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import Database from "better-sqlite3";
import { freePorts, Part } from "../support/part.ts";

export interface ScaleCampaignOptions {
  agents: number;
  /** How long the quiet fleet is measured. */
  steadySeconds: number;
  say: (line: string) => void;
}

const TICKS_PER_SECOND = 100;

/**
 * So many simulated agents with a certificate and a connection each on one control plane with SQLite: all join, report every 10 s, and all
 * come back after the control plane was killed. Says what each phase cost the control plane's process.
 */
export async function runScaleCampaign({ agents, steadySeconds, say }: ScaleCampaignOptions): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "fleetgraph-scale-"));
  const data = join(directory, "data");
  const [port, grpc, control] = (await freePorts(3)) as [number, number, number];
  const url = `http://127.0.0.1:${port}`;
  const fleet = new Part({
    name: "up",
    args: [
      ...["up", "--no-local-agent", "--data", data, "--port", `${port}`, "--grpc-port", `${grpc}`, "--control-port", `${control}`],
      ...["--log-level", "warn"],
    ],
    logDirectory: directory,
    ready: async () => (await fetch(`${url}/readyz`)).ok,
  });
  const simulator = new Part({
    name: "simulate",
    args: ["simulate", "--nodes", `${agents}`, "--data", data, "--log-level", "warn"],
    logDirectory: directory,
    ready: async () => true,
  });
  /** Nodes that were heard of since a moment, by the store itself. */
  const heardSince = (moment: number): number => {
    const database = new Database(join(data, "clusters.db"), { readonly: true });
    try {
      return (database.prepare("SELECT count(*) AS n FROM node_liveness WHERE last_seen > ?").get(moment) as { n: number }).n;
    } finally {
      database.close();
    }
  };
  const readyNodes = async (): Promise<number> => {
    const text = await (await fetch(`${url}/metrics`)).text();
    return Number(/^fleetgraph_nodes\{status="READY"\} (\d+)$/m.exec(text)?.[1] ?? 0);
  };
  const measured = async (phase: string, until: () => Promise<boolean>): Promise<void> => {
    const [began, before, simulated] = [performance.now(), cpuSeconds(fleet.pid), cpuSeconds(simulator.pid)];
    while (!(await until().catch(() => false))) {
      if (performance.now() - began > 600_000) throw new Error(`${phase}: not done in 10 minutes; logs in ${directory}`);
      await sleep(250);
    }
    const seconds = (performance.now() - began) / 1000;
    const [own, theirs] = [cpuSeconds(fleet.pid) - before, cpuSeconds(simulator.pid) - simulated];
    say(
      `${phase}: ${seconds.toFixed(1)} s; control plane ${own.toFixed(1)} s CPU (${((100 * own) / seconds).toFixed(1)} % of a core), ` +
        `${megabytes(fleet.pid)} MB; simulator ${theirs.toFixed(1)} s CPU, ${megabytes(simulator.pid)} MB`,
    );
  };
  try {
    await fleet.start();
    await measured("started, empty", async () => true);
    simulator.spawn();
    await measured(`${agents} agents joined and READY`, async () => (await readyNodes()) >= agents);
    await sleep(30_000);
    for (let round = 1; round <= 3; round++) {
      const end = performance.now() + (steadySeconds / 3) * 1000;
      await measured(`steady, round ${round}`, async () => performance.now() >= end);
    }
    for (const outageSeconds of [0, 60]) {
      await fleet.kill();
      await sleep(outageSeconds * 1000);
      const restarted = Date.now();
      fleet.spawn();
      await fleet.waitReady(120_000);
      await measured(
        `heard of all again after a kill and ${outageSeconds} s down (and ${Date.now() - restarted} ms to start)`,
        async () => {
          return heardSince(restarted) >= agents && (await readyNodes()) >= agents;
        },
      );
    }
  } finally {
    await Promise.all([simulator.stop(60_000), fleet.stop(30_000)]);
    await rm(directory, { recursive: true, force: true });
  }
}

function cpuSeconds(pid: number | undefined): number {
  if (pid === undefined) return 0;
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function megabytes(pid: number | undefined): number {
  if (pid === undefined) return 0;
  return Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1000);
}
