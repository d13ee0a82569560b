import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { createGrpcChannel } from "../../../../platform/grpc/channel.ts";
import { grpcClient } from "../../../../platform/grpc/client.ts";
import { LogAgentServiceDefinition } from "../../../../schema/generated/proto/hypervisor/v1/logs.ts";
import { AgentControlPlane } from "../../../support/agent-control-plane.ts";
import { CAMPAIGN } from "../../../support/in-campaigns.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { RealJournal } from "../../../support/real-journal.ts";
import { TestAgentHome } from "../../../support/test-agent.ts";
import { until } from "../../../support/until.ts";

const AGENT_PROCESS = fileURLToPath(new URL("../../../support/agent-process.ts", import.meta.url));
const START = Date.parse("2026-01-01T00:00:00Z");
/** The issue asks for 100,000; what is held does not depend on how many there are. */
const LINES = CAMPAIGN ? 100_000 : 20_000;
const MOST_GROWTH_MIB = 50;

async function heldMib(pid: number): Promise<number> {
  return Number(/^RssAnon:\s+(\d+)/m.exec(await readFile(`/proc/${pid}/status`, "utf8"))?.[1]) / 1024;
}

describeWithPeers("an agent's journal, followed as a whole", "journal-remote", () => {
  test("comes whole and in order, and takes the agent hardly any memory", async () => {
    await using journal = await RealJournal.make(
      (function* () {
        for (let number = 0; number < LINES; number += 1) yield { message: `line ${number} ${"x".repeat(80)}`, at: START + number };
      })(),
    );
    await using plane = await AgentControlPlane.start();
    await using home = await TestAgentHome.create();
    const args = [AGENT_PROCESS, home.stateDir, plane.address, plane.createToken(), "127.0.0.1", "", journal.directory];
    // As `fleetgraph agent` asks V8 for it (platform/small-heap.ts).
    const child = spawn(process.execPath, ["--no-warnings", "--optimize-for-size", "--experimental-transform-types", ...args], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(child, "exit");
    try {
      let output = "";
      child.stdout.on("data", (data: Buffer) => {
        output += data.toString();
      });
      await until(() => /up \S+ \S+ \S+\n/.test(output), "the agent", 60_000);
      const [, nodeId = "", agentId = "", port = ""] = output.trim().split(" ");
      const channel = createGrpcChannel(`127.0.0.1:${port}`, await plane.controlTls(agentId));
      const logs = grpcClient(LogAgentServiceDefinition, channel);
      const before = await heldMib(child.pid ?? 0);
      let most = before;
      let next = 0;
      for await (const { entries } of logs.followLogs({ nodeId, filter: { since: new Date(START) }, after: "" })) {
        for (const { message } of entries) {
          expect(message.startsWith(`line ${next} `)).toBe(true);
          next += 1;
        }
        if (next % 1000 < entries.length) most = Math.max(most, await heldMib(child.pid ?? 0));
        if (next === LINES) break;
      }
      channel.close();
      // biome-ignore lint/suspicious/noConsole: a figure that is asked for
      console.log(`${LINES} lines: ${Math.round(before)} MiB before, ${Math.round(most)} MiB at most`);
      expect(most - before).toBeLessThan(MOST_GROWTH_MIB);
    } finally {
      child.kill("SIGTERM");
      await exited;
    }
  }, 180_000);
});
