import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SimulatedIdentities } from "../../../cli/simulate/simulated-identities.ts";
import { startSimulation } from "../../../cli/simulate/simulation.ts";
import { createLogger } from "../../../platform/observability/log.ts";
import { AgentControlPlane } from "../../support/agent-control-plane.ts";
import { nearlyEndedCertificate } from "../../support/nearly-ended-certificate.ts";
import { until } from "../../support/until.ts";

const log = createLogger({ name: "test", level: "silent" });
let plane: AgentControlPlane;
let stateDir: string;
let file: string;

beforeEach(async () => {
  plane = await AgentControlPlane.start();
  stateDir = await mkdtemp(join(tmpdir(), "fleetgraph-simulated-"));
  file = join(stateDir, "identities.jsonl");
});
afterEach(async () => {
  await plane[Symbol.asyncDispose]();
  await rm(stateDir, { recursive: true, force: true });
});

async function simulate(nodes: number) {
  const stopping = new AbortController();
  const { signal } = stopping;
  const common = { controlPlane: plane.address, log, signal };
  const joinToken = async () => plane.createToken();
  const identities = await SimulatedIdentities.open({ file, caFingerprint: plane.ca.fingerprint, joinToken, ...common });
  const { counts, ended } = await startSimulation({ nodes, prefix: "sim", concurrency: 1, stateDir, identities, ...common });
  return {
    counts,
    stop: async () => {
      stopping.abort();
      await ended;
    },
  };
}

interface Kept {
  hostname: string;
  agentId: string;
  keyPem: string;
  certificatePem: string;
}
const kept = async (): Promise<Kept[]> =>
  (await readFile(file, "utf8"))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Kept);

describe("simulated agents", () => {
  it("are the same at the next start, and no others once their certificates were renewed", async () => {
    const first = await simulate(1);
    await first.stop();
    const [before] = (await kept()) as [Kept];
    const aging = { ...before, certificatePem: await nearlyEndedCertificate(before.certificatePem, plane.directory) };
    await writeFile(file, `${JSON.stringify(aging)}\n`);

    const second = await simulate(1);
    await until(() => second.counts.renewals === 1);
    const { heartbeats } = second.counts;
    await until(() => second.counts.heartbeats > heartbeats);
    await second.stop();
    const [, renewed] = (await kept()) as [Kept, Kept];
    expect(renewed).toMatchObject({ hostname: "sim-00001", agentId: before.agentId });
    expect(renewed.keyPem).not.toBe(before.keyPem);

    const third = await simulate(1);
    await third.stop();
    expect(plane.joins).toHaveLength(1);
    expect(plane.renewals).toBe(1);
  });
});
