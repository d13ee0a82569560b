import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AgentControlPlane } from "../../support/agent-control-plane.ts";
import { seededRandom, seedOfRun } from "../../support/random.ts";
import { TestAgentHome } from "../../support/test-agent.ts";
import { until } from "../../support/until.ts";

const SCRIPT = fileURLToPath(new URL("../../support/agent-process.ts", import.meta.url));
const SEED = seedOfRun();
const KILLS = 6;

let plane: AgentControlPlane;
let home: TestAgentHome;
let child: ChildProcess | null = null;

beforeEach(async () => {
  plane = await AgentControlPlane.start();
  home = await TestAgentHome.create();
});

afterEach(async () => {
  child?.kill("SIGKILL");
  await home[Symbol.asyncDispose]();
  await plane[Symbol.asyncDispose]();
});

function spawnAgent(joinToken: string): { process: ChildProcess; output: () => string } {
  const args = ["--no-warnings", "--experimental-transform-types", SCRIPT, home.stateDir, plane.address, joinToken];
  const started = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const take = (data: Buffer) => {
    output += data.toString();
  };
  started.stdout.on("data", take);
  started.stderr.on("data", take);
  child = started;
  return { process: started, output: () => output };
}

describe(`an agent that is killed at any moment (SEED=${SEED})`, () => {
  it("is the same agent and the same node when it is started again with the same command", { timeout: 180_000 }, async () => {
    const random = seededRandom(SEED);
    const joinToken = plane.createToken();
    // Half of the kills hit the start: the join, the first files, the registration.
    for (let kill = 0; kill < KILLS; kill += 1) {
      const agent = spawnAgent(joinToken);
      if (kill % 2 === 0) {
        const joins = plane.joins.length;
        await until(
          () => plane.joins.length > joins || agent.output().includes("up ") || agent.process.exitCode !== null,
          "the start",
          30_000,
        );
        await new Promise((resolve) => setTimeout(resolve, random() * 60));
      } else {
        await until(() => agent.output().includes("up ") || agent.process.exitCode !== null, "the agent", 30_000);
      }
      expect(agent.process.exitCode, agent.output()).toBeNull();
      agent.process.kill("SIGKILL");
      await once(agent.process, "exit");
    }
    const survivor = spawnAgent(joinToken);
    await until(() => /up node-/.test(survivor.output()), "the agent", 30_000);
    const [, nodeId, agentId] = survivor.output().trim().split(" ");
    expect([...plane.owners]).toEqual([[nodeId, agentId]]);
    const heartbeats = plane.heartbeats.length;
    await until(() => plane.heartbeats.length > heartbeats);
  });
});
