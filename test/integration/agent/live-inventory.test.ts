import { type ChildProcess, execFile, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { InventoryPart, type NetworkInterface } from "../../../schema/generated/proto/hypervisor/v1/inventory.ts";
import { AgentControlPlane } from "../../support/agent-control-plane.ts";
import { NetworkNamespace } from "../../support/network-namespace.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { TestAgentHome } from "../../support/test-agent.ts";
import { until } from "../../support/until.ts";

const SCRIPT = fileURLToPath(new URL("../../support/agent-process.ts", import.meta.url));
const run = promisify(execFile);

/** Far below the 60 s after which everything is read again in any case. */
const SOON_MS = 20_000;

describeWithPeers("the hardware of a host, as it changes", "network-namespaces", () => {
  let namespace: NetworkNamespace;
  let plane: AgentControlPlane;
  let home: TestAgentHome;
  let agent: ChildProcess;
  let said = "";

  beforeEach(async () => {
    namespace = await NetworkNamespace.create(91);
    plane = await AgentControlPlane.start({ host: namespace.hostAddress });
    home = await TestAgentHome.create();
    const script = [process.execPath, "--no-warnings", "--experimental-transform-types", SCRIPT];
    const [command = "", ...args] = [...namespace.prefix, ...script, home.stateDir, plane.address, plane.createToken(), "0.0.0.0"];
    said = "";
    agent = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const pipe of [agent.stdout, agent.stderr]) pipe?.on("data", (data) => (said += data));
  });

  afterEach(async () => {
    agent.kill("SIGKILL");
    // What ends with the agent by itself; nothing may stay in the namespace.
    await until(async () => (await pids()).length === 0, "the end of everything in the namespace", SOON_MS);
    await home[Symbol.asyncDispose]();
    await plane[Symbol.asyncDispose]();
    await namespace.remove();
  });

  /** What runs in the namespace. */
  async function pids(): Promise<number[]> {
    const { stdout } = await run("ip", ["netns", "pids", namespace.name]);
    return stdout.split("\n").filter(Boolean).map(Number);
  }

  async function programs(): Promise<string[]> {
    const names = (await pids()).map((pid) => readFile(`/proc/${pid}/comm`, "utf8").catch(() => ""));
    return (await Promise.all(names)).map((name) => name.trim());
  }

  const nic = (name: string): NetworkInterface | undefined =>
    plane
      .reported(InventoryPart.NETWORK)
      .findLast(({ network }) => network !== undefined)
      ?.network?.interfaces.find((one) => one.name === name);

  async function took(change: string[], holds: () => boolean): Promise<number> {
    const startedAt = performance.now();
    await run("ip", ["-n", namespace.name, ...change]);
    await until(holds, `${change.join(" ")} to be told; ${said}`, SOON_MS);
    return performance.now() - startedAt;
  }

  it("is told when an interface comes, goes up, gets an address, goes down and goes, without waiting for a turn", async () => {
    await until(() => nic("lo") !== undefined, `the first inventory; ${said}`);
    // Then the monitors listen, too.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const times = {
      added: await took(["link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b"], () => nic("veth-b") !== undefined),
      up: await took(["link", "set", "veth-a", "up"], () => nic("veth-a")?.enabled === true),
      address: await took(["addr", "add", "192.0.2.1/24", "dev", "veth-a"], () => nic("veth-a")?.addresses[0]?.address === "192.0.2.1"),
      carrier: await took(["link", "set", "veth-b", "up"], () => nic("veth-a")?.carrier === true),
      down: await took(["link", "set", "veth-b", "down"], () => nic("veth-a")?.carrier === false),
      removed: await took(["link", "del", "veth-a"], () => nic("veth-b") === undefined),
    };
    if (process.env.TEST_LOG) process.stdout.write(`${JSON.stringify(times)}\n`);
    expect(nic("lo")).toBeDefined();
  });

  it("leaves no program behind when it is killed, although nothing happens any more that its monitors would tell", async () => {
    const monitors = ["udevadm", "ip"];
    await until(async () => monitors.every(Set.prototype.has, new Set(await programs())), `the monitors; ${said}`, SOON_MS);
    agent.kill("SIGKILL");
    await until(async () => (await programs()).length === 0, "the end of everything in the namespace", SOON_MS);
  });
});
