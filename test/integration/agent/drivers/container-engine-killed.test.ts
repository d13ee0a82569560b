import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import type { ContainerDriver } from "../../../../agent/drivers/containers/container-driver.ts";
import type { InstancePlan } from "../../../../agent/drivers/instance-driver.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { ContainerHost, soon, untilState } from "../../../support/container-host.ts";
import { containerPlan } from "../../../support/container-plan.ts";
import { describeInCampaigns } from "../../../support/in-campaigns.ts";
import { MIB } from "../../../support/instance-plans.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { until } from "../../../support/until.ts";

const quiet = () => undefined;
const MARKER = `fleetgraph-test-${process.pid}`;
const seed = seedOfRun();
let ids = 0;

function planned(spec: Parameters<typeof containerPlan>[0] = {}): InstancePlan {
  const command = ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.05; done", MARKER];
  return containerPlan({ command, ...spec }, { instanceId: `inst-${String(++ids).padStart(16, "0")}` });
}

/** As podman calls it, and podman does not hear of it. */
const runc = (...args: string[]) => promisify(execFile)("runc", args, { timeout: 10_000 });

/** The processes of all containers that this file starts, whoever knows of them. */
async function processes(): Promise<string[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  const shells = pids.filter((_, index) => lines[index]?.startsWith("sh\0") && lines[index].includes(MARKER));
  // A shell that has forked and not yet become another program looks like two: only the first of a container is its process 1.
  const status = await Promise.all(shells.map((pid) => readFile(`/proc/${pid}/status`, "utf8").catch(() => "")));
  return shells.filter((_, index) => /^NSpid:.*\t1$/m.test(status[index] ?? ""));
}

describeInCampaigns(`a container engine that is killed (SEED=${seed})`, ["network-namespaces", "podman"], () => {
  let host: ContainerHost;
  let driver: ContainerDriver;
  let availability: boolean[];
  let changed: Set<string>;
  beforeAll(async () => {
    host = await ContainerHost.start(83);
  });
  afterAll(() => host?.stop());
  beforeEach(async () => {
    driver = await host.driver();
    availability = [];
    changed = new Set();
    driver.listen({ onChanged: (id) => changed.add(id), onAvailable: (available) => availability.push(available) });
    await until(() => driver.available, "the engine");
  });
  afterEach(async () => {
    await driver.close();
    await host.podman.podman("rm", "--all", "--force", "--time", "0", "--volumes");
  });

  /** As the agent's keeper does: what fails because the engine is away is done again. */
  async function insist(work: () => Promise<unknown>): Promise<void> {
    await until(
      async () => {
        try {
          await work();
          return true;
        } catch (error) {
          if (error instanceof FleetError && error.code === "UNAVAILABLE") return false;
          throw error;
        }
      },
      "what has to work in the end",
      30_000,
    );
  }

  it("is said to be away, and its containers go on", async () => {
    const [kept, ending] = [planned(), planned()];
    for (const plan of [kept, ending]) {
      await driver.create(plan, quiet, soon());
      await driver.start(plan, soon());
    }
    const before = await untilState(driver, kept, "RUNNING");
    const { nativeId: endingId } = await untilState(driver, ending, "RUNNING");

    availability.length = 0;
    await host.podman.kill();
    await until(() => availability.includes(false), "the news");
    expect(driver.available).toBe(false);
    const away = expect.objectContaining({ code: "UNAVAILABLE", reason: "EngineUnreachable" });
    await expect(driver.list(soon())).rejects.toThrow(away);
    await expect(driver.find(kept, soon())).rejects.toThrow(away);
    await expect(driver.create(planned(), quiet, soon())).rejects.toThrow(away);
    await expect(driver.sample([before.nativeId], soon())).rejects.toThrow(away);
    expect(await driver.support(soon())).toEqual([
      expect.objectContaining({ supported: false, message: expect.stringContaining("container engine") }),
    ]);

    // What happens meanwhile, happens without the engine.
    await host.podman.podman("kill", "--signal", "TERM", ending.instanceId);
    changed.clear();
    await host.podman.start();
    await until(() => availability.includes(true), "the engine to be back");
    await until(() => changed.has(endingId), "the event of what ended meanwhile");
    const natives = new Map((await driver.list(soon())).map((native) => [native.name, native]));
    expect(natives.get(kept.instanceId)).toEqual(before);
    expect(natives.get(ending.instanceId)).toMatchObject({ state: "STOPPED", reason: "EXITED", exitCode: 0 });
    expect(await driver.support(soon())).toEqual([expect.objectContaining({ supported: true })]);
  });

  it("in the middle of a life, leaves nothing that is not put right", async () => {
    const random = seededRandom(seed);
    const killed = await host.driver();
    /** While `work` goes on, the engine dies, and comes back. */
    const interrupted = async (withinMs: number, work: () => Promise<unknown>) => {
      const working = work().catch((error: unknown) => {
        // Undoing a creation cannot work either.
        if (!(error instanceof FleetError && error.code === "UNAVAILABLE")) throw error;
      });
      await delay(random() * withinMs);
      await host.podman.kill();
      await working;
      await host.podman.start();
      await until(() => killed.available, "the engine to be back");
      await insist(work);
    };
    for (let round = 0; round < 2; round += 1) {
      const plan = planned({ volumeMounts: [{ name: "data", mountPath: "/data", readOnly: false }] });
      await interrupted(80, () => killed.create(plan, quiet, soon()));
      await interrupted(120, () => killed.start(plan, soon()));
      await untilState(killed, plan, "RUNNING");
      await until(async () => (await processes()).length === 1, "its process");
      await interrupted(40, () => killed.suspend(plan, soon()));
      expect(await killed.find(plan, soon())).toMatchObject({ state: "PAUSED" });
      await interrupted(40, () => killed.resume(plan, soon()));
      expect(await killed.find(plan, soon())).toMatchObject({ state: "RUNNING" });
      const bigger = { ...plan, spec: { ...plan.spec, memoryBytes: 96 * MIB } };
      await interrupted(40, () => killed.resize(bigger, soon()));
      expect(await killed.find(plan, soon())).toMatchObject({ state: "RUNNING", memoryBytes: 96 * MIB });
      await interrupted(40, () => killed.requestStop(plan, soon()));
      await untilState(killed, plan, "STOPPED");
      expect(await processes()).toEqual([]);
      await interrupted(120, () => killed.start(plan, soon()));
      await untilState(killed, plan, "RUNNING");
      await interrupted(150, () => killed.remove(plan, soon()));
      expect(await killed.find(plan, soon())).toBeNull();
      expect(await killed.list(soon())).toEqual([]);
      await until(async () => (await processes()).length === 0, "its process to end");
      expect(await host.leftovers()).toEqual([]);
    }
    await killed.close();
  });

  it("while it froze or thawed a container does not know what it is: the kernel does", async () => {
    const plan = planned();
    const { nativeId } = await driver.create(plan, quiet, soon());
    await driver.start(plan, soon());
    await driver.suspend(plan, soon());
    await runc("resume", nativeId);
    expect(await driver.find(plan, soon())).toMatchObject({ state: "RUNNING" });
    await driver.suspend(plan, soon());
    expect(await driver.find(plan, soon())).toMatchObject({ state: "PAUSED" });
    await driver.resume(plan, soon());
    await runc("pause", nativeId);
    expect(await driver.find(plan, soon())).toMatchObject({ state: "PAUSED" });
    await driver.resume(plan, soon());
    expect(await driver.find(plan, soon())).toMatchObject({ state: "RUNNING" });
    expect(await host.podman.podman("inspect", "--format", "{{.State.Status}}", plan.instanceId)).toBe("running\n");
    await runc("pause", nativeId);
    await driver.remove(plan, soon());
    expect(await host.leftovers()).toEqual([]);
  });

  it("of whose events one was lost is looked at now and then", async () => {
    const sweeping = await host.driver({ watch: { firstPauseMs: 20, longestPauseMs: 100, sweepMs: 100 } });
    const swept = new Set<string>();
    sweeping.listen({ onChanged: (id) => swept.add(id), onAvailable: quiet });
    const plan = planned();
    const { nativeId } = await sweeping.create(plan, quiet, soon());
    await sweeping.start(plan, soon());
    expect(await sweeping.list(soon())).toMatchObject([{ state: "RUNNING" }]);
    swept.clear();
    await host.podman.podman("--events-backend", "none", "pause", plan.instanceId);
    await until(() => swept.has(nativeId), "the change that no event told");
    expect(await sweeping.find({ nativeId }, soon())).toMatchObject({ state: "PAUSED" });
    await sweeping.close();
  });
});
