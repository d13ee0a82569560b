import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { createGrpcChannel } from "../../../platform/grpc/channel.ts";
import { grpcClient } from "../../../platform/grpc/client.ts";
import { DesiredState, InstanceState, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { type ApplyInstanceRequest, InstanceAgentServiceDefinition } from "../../../schema/generated/proto/hypervisor/v1/instances.ts";
import { AgentControlPlane } from "../../support/agent-control-plane.ts";
import { agentKeyPair } from "../../support/certificates.ts";
import { containerDrivers } from "../../support/container-drivers.ts";
import { desiredInstance } from "../../support/instance-samples.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { PodmanService } from "../../support/podman-service.ts";
import { seededRandom, seedOfRun } from "../../support/random.ts";
import { TestAgentHome } from "../../support/test-agent.ts";
import { until } from "../../support/until.ts";

const SEED = seedOfRun();
const AGENT_PROCESS = fileURLToPath(new URL("../../support/agent-process.ts", import.meta.url));
const MIB = 2 ** 20;
const { RUNNING, STOPPED, SUSPENDED, DELETED } = DesiredState;

describeWithPeers("an agent with a container engine", ["podman"], () => {
  let podman: PodmanService;
  let plane: AgentControlPlane;
  let home: TestAgentHome;

  beforeAll(async () => {
    podman = await PodmanService.start();
    await podman.importBusyboxImage();
  });

  afterAll(() => podman.stop());

  beforeEach(async () => {
    plane = await AgentControlPlane.start();
    home = await TestAgentHome.create();
  });

  afterEach(async () => {
    await home[Symbol.asyncDispose]();
    await plane[Symbol.asyncDispose]();
    await podman.podman("rm", "--all", "--force", "--time", "0");
  });

  function container(nodeId: string, given: Partial<ApplyInstanceRequest> = {}): ApplyInstanceRequest {
    const { spec } = desiredInstance();
    return desiredInstance({
      nodeId,
      instanceId: "inst-c000000000000001",
      type: InstanceType.CONTAINER,
      ...given,
      spec: {
        ...spec!,
        image: "localhost/busybox:latest",
        cpuCores: 1,
        memoryBytes: 64 * MIB,
        disks: [],
        network: { networkId: "none", subnetId: "", securityGroups: [], assignPublicIp: false },
        ...given.spec,
      },
    });
  }

  async function startAgent(adoption = true) {
    const openInstances = containerDrivers(podman.socketPath, home.stateDir, adoption);
    const agent = await home.start({ joinToken: plane.createToken(), openInstances });
    return { agent, nodeId: agent.nodeIds[0]!, control: await plane.instanceAgent(agent) };
  }

  /** Names, and whether they run, as podman says it. */
  async function truth(): Promise<Record<string, boolean>> {
    // What the driver tries the engine with comes and goes.
    const isProbe = (line: string) => line.startsWith("fleetgraph-probe-");
    const lines = (await podman.podman("ps", "--all", "--format", "{{.Names}} {{.State}}"))
      .split("\n")
      .filter((line) => line !== "" && !isProbe(line));
    return Object.fromEntries(lines.map((line) => line.split(" ")).map(([name, state = ""]) => [name, /^(?:running|up)$/i.test(state)]));
  }

  async function settled(id: string, revision: number, state: InstanceState): Promise<void> {
    const isThere = () => plane.observations(id).at(-1);
    await until(
      () => isThere()?.settled === true && isThere()?.revision === revision && isThere()?.state === state,
      `${id} to be ${state}`,
      20_000,
    );
  }

  it("says what it can run, and carries out what it is told to, telling each state", async () => {
    const { nodeId, control } = await startAgent();
    using _ = control;
    await until(() => plane.registrations.at(-1)?.supportedInstanceTypes[0] === "container", "containers to be offered", 30_000);
    await until(() => plane.reports.at(-1)?.typeSupport.some(({ supported }) => supported) ?? false, "a report about types", 20_000);
    const support = new Map(plane.reports.findLast(({ full }) => full)?.typeSupport.map((one) => [one.type, one]));
    expect(support.get(InstanceType.CONTAINER)?.engine).toMatch(/podman/);
    expect(support.get(InstanceType.VM)).toMatchObject({ supported: false, reason: "NoDriver" });

    const instance = container(nodeId);
    const id = instance.instanceId;
    expect(await control.applyInstance(instance)).toEqual({ revision: 1 });
    await settled(id, 1, InstanceState.RUNNING);
    expect(await truth()).toEqual({ [id]: true });
    await until(() => plane.heartbeats.at(-1)?.allocated?.memoryBytes === 64 * MIB);
    const { stats } = await control.sampleInstances({ nodeId, instanceIds: [id] });
    expect(stats).toMatchObject([{ instanceId: id }]);
    expect(stats[0]?.memoryUsageBytes).toBeGreaterThan(0);

    await control.applyInstance({ ...instance, revision: 2, desiredState: SUSPENDED });
    await settled(id, 2, InstanceState.SUSPENDED);
    await control.applyInstance({ ...instance, revision: 3 });
    await settled(id, 3, InstanceState.RUNNING);
    await control.applyInstance({ ...instance, revision: 4, restarts: 1 });
    await settled(id, 4, InstanceState.RUNNING);
    await control.applyInstance({ ...instance, revision: 5, restarts: 1, desiredState: STOPPED });
    await settled(id, 5, InstanceState.STOPPED);
    expect(await truth()).toEqual({ [id]: false });
    await control.applyInstance({ ...instance, revision: 6, restarts: 1, desiredState: DELETED });
    await settled(id, 6, InstanceState.DELETED);
    expect(await truth()).toEqual({});
    const states = plane.observations(id).map(({ state }) => state.slice("INSTANCE_STATE_".length));
    expect(states.filter((state, index) => state !== states[index - 1])).toEqual([
      "CREATING",
      "STARTING",
      "RUNNING",
      "SUSPENDED",
      "RUNNING",
      "RESTARTING",
      "RUNNING",
      "STOPPING",
      "STOPPED",
      "STOPPING",
      "DELETED",
    ]);
    expect(plane.reports.map(({ sequence }) => sequence)).toEqual(plane.reports.map((_report, index) => index + 1));
  });

  it("follows a container's own end, and what is done by hand", async () => {
    const { nodeId, control } = await startAgent();
    using _ = control;
    const instance = container(nodeId, { spec: { command: ["/bin/sh", "-c", "exit 3"] } as never });
    const id = instance.instanceId;
    await control.applyInstance(instance);
    await settled(id, 1, InstanceState.ERROR);
    expect(plane.observations(id).at(-1)).toMatchObject({ stateReason: "EXITED", exitCode: 3 });
    const steady = container(nodeId, { instanceId: "inst-c000000000000002" });
    await control.applyInstance(steady);
    await settled(steady.instanceId, 1, InstanceState.RUNNING);
    await podman.podman("kill", steady.instanceId);
    await settled(steady.instanceId, 1, InstanceState.STOPPED);
    await podman.podman("start", steady.instanceId);
    await settled(steady.instanceId, 1, InstanceState.RUNNING);
    expect(plane.observations(steady.instanceId).at(-1)).toMatchObject({ stateReason: "CHANGED_OUTSIDE" });
    await podman.podman("rm", "--force", "--time", "0", steady.instanceId);
    await until(() => plane.observations(steady.instanceId).at(-1)?.stateReason === "MISSING");
    expect(await truth()).toEqual({ [id]: false });
  });

  it("tells what others made, adopts it when it is told to and may, and takes its own over when its disk was lost", async () => {
    await podman.podman("run", "--detach", "--name", "by-hand", "--network", "none", "localhost/busybox:latest");
    const { agent, nodeId, control } = await startAgent(false);
    using _ = control;
    const seen = () => plane.reports.flatMap(({ observations }) => observations).findLast(({ name }) => name === "by-hand");
    await until(() => seen() !== undefined, "the container to be told", 20_000);
    expect(seen()).toMatchObject({ instanceId: "", type: InstanceType.CONTAINER, state: InstanceState.RUNNING, made: true });
    const adoption = container(nodeId, { adoptNativeId: seen()!.nativeId, madeBefore: true });
    await expect(control.applyInstance(adoption)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "AdoptionNotAllowed" });
    await agent.stop();
    const openInstances = containerDrivers(podman.socketPath, home.stateDir);
    const second = await home.start({ openInstances });
    using again = await plane.instanceAgent(second);
    await again.applyInstance(adoption);
    await settled(adoption.instanceId, 1, InstanceState.RUNNING);
    expect(await truth()).toEqual({ "by-hand": true });
    await second.stop();
    await rm(join(home.stateDir, "instances"), { recursive: true });
    const third = await home.start({ openInstances });
    using last = await plane.instanceAgent(third);
    await until(() => plane.observations(adoption.instanceId).at(-1)?.revision === 0, "its own to be told by the mark", 20_000);
    await last.applyInstance({ ...adoption, adoptNativeId: "" });
    await settled(adoption.instanceId, 1, InstanceState.RUNNING);
    expect(await truth()).toEqual({ "by-hand": true });
    await last.applyInstance({ ...adoption, revision: 2, desiredState: DELETED, force: true });
    await settled(adoption.instanceId, 2, InstanceState.DELETED);
    expect(await truth()).toEqual({});
  });

  it("obeys nobody but the control plane, about its own nodes, in messages that make sense", async () => {
    const { agent, nodeId, control } = await startAgent();
    using _ = control;
    const tls = {
      caPem: plane.ca.certificatePem,
      peerUri: `fleetgraph://agent/${agent.agentId}`,
      ...(await agentKeyPair(plane.ca, "agent-other")),
    };
    const channel = createGrpcChannel(`127.0.0.1:${agent.port}`, tls);
    const other = grpcClient(InstanceAgentServiceDefinition, channel);
    await expect(other.applyInstance(container(nodeId))).rejects.toMatchObject({
      code: expect.stringMatching(/FORBIDDEN|UNAUTHENTICATED/),
    });
    await expect(other.sampleInstances({ nodeId })).rejects.toMatchObject({ code: expect.stringMatching(/FORBIDDEN|UNAUTHENTICATED/) });
    channel.close();
    await expect(control.applyInstance(container("node-other"))).rejects.toMatchObject({ code: "NOT_FOUND" });
    const wrong: Array<[Partial<ApplyInstanceRequest>, string]> = [
      [{ instanceId: "inst-../../x" }, "instance_id"],
      [{ instanceId: "" }, "instance_id"],
      [{ generation: 0 }, "generation"],
      [{ revision: -1 }, "revision"],
      [{ type: InstanceType.UNSPECIFIED }, "type"],
      [{ desiredState: DesiredState.UNSPECIFIED }, "desired_state"],
      [{ stopTimeoutSeconds: 86_401 }, "stop_timeout_seconds"],
      [{ metadata: { labels: { long: "x".repeat(2 * MIB) }, annotations: {} } }, "spec"],
    ];
    for (const [change, field] of wrong) {
      await expect(control.applyInstance({ ...container(nodeId), ...change })).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        details: { field },
      });
    }
    const ids = Array.from({ length: 1001 }, () => "inst-1");
    await expect(control.sampleInstances({ nodeId, instanceIds: ids })).rejects.toMatchObject({ details: { field: "instance_ids" } });
    expect(await truth()).toEqual({});
  });

  it("tells all again when the control plane asks for it or has forgotten the node, and when the engine is back", async () => {
    const { nodeId, control } = await startAgent();
    using _ = control;
    const instance = container(nodeId);
    await control.applyInstance(instance);
    await settled(instance.instanceId, 1, InstanceState.RUNNING);
    const fulls = () => plane.reports.filter(({ full, observations }) => full && observations.length > 0).length;
    const first = fulls();
    plane.wantsFullReport = true;
    await control.applyInstance(instance);
    await until(() => fulls() > first, "the full report that was asked for");
    const second = fulls();
    plane.forgotten.add(nodeId);
    await until(() => fulls() > second, "a full report after the next registration");
    const third = fulls();
    await podman.kill();
    await control.applyInstance({ ...instance, revision: 2, desiredState: STOPPED });
    await until(() => plane.observations(instance.instanceId).at(-1)?.activity !== "", "the wait for the engine to be told", 20_000);
    await podman.start();
    await settled(instance.instanceId, 2, InstanceState.STOPPED);
    expect(fulls()).toBeGreaterThan(third);
  });

  it(`that is killed at any moment has in the end what it was told, and nothing else (SEED=${SEED})`, { timeout: 120_000 }, async () => {
    const random = seededRandom(SEED);
    const joinToken = plane.createToken();
    let child: ChildProcess | null = null;
    const start = async () => {
      const args = [
        "--no-warnings",
        "--experimental-transform-types",
        AGENT_PROCESS,
        home.stateDir,
        plane.address,
        joinToken,
        "127.0.0.1",
        podman.socketPath,
      ];
      const started = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
      child = started;
      let output = "";
      started.stdout.on("data", (data: Buffer) => {
        output += data.toString();
      });
      await until(() => /up \S+ \S+ \S+\n/.test(output) || started.exitCode !== null, "the agent", 30_000);
      const [, nodeId = "", agentId = "", port = ""] = output.trim().split(" ");
      return { nodeId, control: await plane.instanceAgent({ agentId, port: Number(port) }) };
    };
    try {
      let { nodeId, control } = await start();
      const wanted: ApplyInstanceRequest[] = [];
      for (let kill = 0; kill < 3; kill += 1) {
        // One more each time; one of those before is stopped or deleted.
        const before = wanted[Math.floor(random() * wanted.length)];
        if (before !== undefined)
          Object.assign(before, { revision: before.revision + 1, desiredState: random() < 0.5 ? STOPPED : DELETED, stopTimeoutSeconds: 5 });
        wanted.push(container(nodeId, { instanceId: `inst-k00000000000000${kill}`, desiredState: random() < 0.7 ? RUNNING : STOPPED }));
        await Promise.all(wanted.map((instance) => control.applyInstance(instance)));
        await new Promise((resolve) => setTimeout(resolve, random() * 300));
        const dying = child as ChildProcess | null;
        dying?.kill("SIGKILL");
        if (dying) await once(dying, "exit");
        control[Symbol.dispose]();
        ({ nodeId, control } = await start());
      }
      for (const { instanceId, revision, desiredState } of wanted) {
        const state = { [RUNNING]: InstanceState.RUNNING, [STOPPED]: InstanceState.STOPPED, [DELETED]: InstanceState.DELETED }[
          desiredState as string
        ]!;
        await settled(instanceId, revision, state);
      }
      const kept = wanted.filter(({ desiredState }) => desiredState !== DELETED);
      expect(await truth()).toEqual(Object.fromEntries(kept.map(({ instanceId, desiredState }) => [instanceId, desiredState === RUNNING])));
      const sessions = [...new Set(plane.reports.map(({ session }) => session))];
      expect(sessions).toEqual([...sessions].sort((a, b) => a - b));
      control[Symbol.dispose]();
    } finally {
      (child as ChildProcess | null)?.kill("SIGKILL");
    }
  });
});
