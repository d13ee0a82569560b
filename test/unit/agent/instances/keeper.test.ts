import { rename, rm, writeFile } from "node:fs/promises";
import { afterEach, describe, expect, it } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { DesiredState, InstanceState, InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { ApplyInstanceRequest } from "../../../../schema/generated/proto/hypervisor/v1/instances.ts";
import { desiredInstance, INSTANCE, NODE } from "../../../support/instance-samples.ts";
import { KeptInstances } from "../../../support/kept-instances.ts";
import { until } from "../../../support/until.ts";

let kept: KeptInstances;

afterEach(() => kept[Symbol.asyncDispose]());

const { RUNNING, STOPPED, DELETED } = DesiredState;

describe("a keeper", () => {
  it("carries out what it is told, and tells each state on the way", async () => {
    kept = await KeptInstances.open();
    expect(await kept.keeper.apply(desiredInstance())).toBe(1);
    await kept.untilState(INSTANCE, "RUNNING");
    expect(kept.states(INSTANCE)).toEqual(["CREATING REQUESTED", "STARTING REQUESTED", "RUNNING REQUESTED"]);
    await kept.keeper.apply(desiredInstance({ revision: 2, desiredState: DELETED }));
    await kept.untilState(INSTANCE, "DELETED");
    expect(kept.states(INSTANCE).slice(3)).toEqual(["STOPPING REQUESTED", "DELETED REQUESTED"]);
    expect([kept.host.natives.size, kept.host.disks.size]).toEqual([0, 0]);
  });

  it("sums up what its instances take, whether they run or not", async () => {
    kept = await KeptInstances.open();
    await kept.keeper.apply(desiredInstance({ desiredState: STOPPED }));
    await kept.keeper.apply(desiredInstance({ instanceId: "inst-2", type: InstanceType.MICROVM }));
    await kept.keeper.apply(desiredInstance({ instanceId: "inst-3", desiredState: DELETED }));
    await kept.untilState("inst-3", "DELETED");
    expect(kept.keeper.allocated()).toEqual({ cpuCores: 4, memoryBytes: 2 ** 31, diskBytes: 2 ** 31, gpuCount: 0 });
  });

  it("names those that are still to be made of an image", async () => {
    const gate = Promise.withResolvers<void>();
    kept = await KeptInstances.open({}, (point) => (point.startsWith("create") ? gate.promise : Promise.resolve()));
    await kept.keeper.apply(desiredInstance());
    expect(kept.keeper.waitingForImage(new Set(["tiny", "other"]))).toEqual([INSTANCE]);
    expect(kept.keeper.waitingForImage(new Set(["other"]))).toEqual([]);
    gate.resolve();
    await kept.untilState(INSTANCE, "RUNNING");
    expect(kept.keeper.waitingForImage(new Set(["tiny"]))).toEqual([]);
  });

  it("answers an old revision with its own, and tells again what it knows when a message is repeated", async () => {
    kept = await KeptInstances.open();
    await kept.keeper.apply(desiredInstance({ revision: 3 }));
    await kept.untilState(INSTANCE, "RUNNING");
    const { length } = kept.told;
    expect(await kept.keeper.apply(desiredInstance({ revision: 2, desiredState: DELETED }))).toBe(3);
    expect(await kept.keeper.apply(desiredInstance({ revision: 3 }))).toBe(3);
    expect(kept.told.slice(length).map(({ state, revision }) => [state, revision])).toEqual([
      [InstanceState.RUNNING, 3],
      [InstanceState.RUNNING, 3],
    ]);
    expect(kept.driver.calls).toEqual(["create", "start"]);
  });

  it("refuses a placement that was replaced, also when it was removed, and when only the mark on the host tells", async () => {
    kept = await KeptInstances.open();
    await kept.keeper.apply(desiredInstance({ generation: 2 }));
    const stale = { code: "FAILED_PRECONDITION", reason: "StaleGeneration", details: { highestGeneration: 2 } };
    await expect(kept.keeper.apply(desiredInstance({ generation: 1, revision: 9 }))).rejects.toMatchObject(stale);
    await kept.keeper.apply(desiredInstance({ generation: 2, revision: 2, desiredState: DELETED }));
    await kept.untilState(INSTANCE, "DELETED");
    await expect(kept.keeper.apply(desiredInstance({ generation: 1, revision: 9 }))).rejects.toMatchObject(stale);
    await expect(kept.keeper.apply(desiredInstance({ generation: 2, revision: 9 }))).rejects.toMatchObject(stale);
    expect(await kept.keeper.apply(desiredInstance({ generation: 2, revision: 1 }))).toBe(2);
    kept.host.add({ mark: { instanceId: "inst-2", nodeId: NODE, generation: 2 }, name: "inst-2" });
    await until(() => kept.last("inst-2") !== undefined);
    await expect(kept.keeper.apply(desiredInstance({ instanceId: "inst-2" }))).rejects.toMatchObject(stale);
    await kept.keeper.apply(desiredInstance({ generation: 3 }));
    await kept.untilState(INSTANCE, "RUNNING");
  });

  it("says again that an instance is deleted when it is told to delete it again", async () => {
    kept = await KeptInstances.open();
    await kept.keeper.apply(desiredInstance({ desiredState: DELETED }));
    await kept.untilState(INSTANCE, "DELETED");
    const { length } = kept.told;
    await kept.keeper.apply(desiredInstance({ revision: 2, desiredState: DELETED }));
    expect(kept.told.slice(length)).toMatchObject([{ instanceId: INSTANCE, state: InstanceState.DELETED }]);
    expect(kept.driver.calls).toEqual(["remove"]);
  });

  it("breaks off a creation when the instance is not wanted any more, and leaves nothing", async () => {
    let begun = false;
    kept = await KeptInstances.open({}, (point, signal) => {
      if (point !== "create half") return Promise.resolve();
      begun = true;
      return new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    });
    await kept.keeper.apply(desiredInstance());
    await until(() => begun);
    await kept.keeper.apply(desiredInstance({ revision: 2, desiredState: DELETED }));
    await kept.untilState(INSTANCE, "DELETED");
    expect([kept.host.natives.size, kept.host.disks.size]).toEqual([0, 0]);
    expect(kept.driver.calls).toEqual(["create", "remove"]);
  });

  it("goes on after its driver was away, and says meanwhile what it waits for", async () => {
    kept = await KeptInstances.open();
    kept.driver.available = false;
    kept.host.tellAvailable(false);
    await kept.keeper.apply(desiredInstance());
    await until(() => kept.last(INSTANCE) !== undefined);
    expect(kept.last(INSTANCE)).toMatchObject({ state: InstanceState.CREATING, activity: "memory cannot be reached.", settled: false });
    kept.driver.available = true;
    const before = kept.fullWanted;
    kept.host.tellAvailable(true);
    await kept.untilState(INSTANCE, "RUNNING");
    expect(kept.fullWanted).toBe(before + 1);
  });

  it("tries again what a driver could not do for a reason that passes, and not what it refuses", async () => {
    let attempts = 0;
    kept = await KeptInstances.open({}, async (point) => {
      if (point !== "create before") return;
      attempts += 1;
      if (attempts === 1) throw new FleetError("UNAVAILABLE", "Busy.");
      throw new FleetError("FAILED_PRECONDITION", "There is no such image.", { reason: "ImageNotFound" });
    });
    await kept.keeper.apply(desiredInstance());
    const failed = await kept.untilState(INSTANCE, "ERROR");
    expect(failed).toMatchObject({ stateReason: "ImageNotFound", message: "There is no such image.", made: false });
    expect(attempts).toBe(2);
  });

  it("gives up a driver's call that never ends when the agent stops", async () => {
    kept = await KeptInstances.open({}, (point) => (point === "start before" ? new Promise(() => undefined) : Promise.resolve()));
    await kept.keeper.apply(desiredInstance());
    await until(() => kept.driver.calls.includes("start"));
    await kept.keeper.stop();
    expect(kept.host.of(INSTANCE)?.state).toBe("STOPPED");
  });

  it("says which types it has no driver for, and forgets such an instance when it is told to", async () => {
    kept = await KeptInstances.open();
    await kept.keeper.apply(desiredInstance({ type: InstanceType.CONTAINER }));
    await kept.untilState(INSTANCE, "ERROR");
    expect(kept.last(INSTANCE)).toMatchObject({ stateReason: "NoDriver" });
    await kept.keeper.apply(desiredInstance({ type: InstanceType.CONTAINER, revision: 2, desiredState: DELETED }));
    await kept.untilState(INSTANCE, "DELETED");
  });

  it("follows what happens on the host by its driver's events", async () => {
    kept = await KeptInstances.open();
    await kept.keeper.apply(desiredInstance());
    const { nativeId } = await kept.untilState(INSTANCE, "RUNNING");
    kept.host.change(nativeId, { ipAddresses: ["192.0.2.7"] });
    await until(() => kept.last(INSTANCE)?.ipAddresses[0] === "192.0.2.7");
    kept.host.change(nativeId, { state: "STOPPED", reason: "GUEST_SHUTDOWN" });
    await kept.untilState(INSTANCE, "STOPPED");
    kept.host.remove(nativeId);
    const missing = await kept.untilState(INSTANCE, "ERROR");
    expect(missing).toMatchObject({ stateReason: "MISSING", made: false });
    expect(kept.driver.calls).toEqual(["create", "start"]);
  });

  it("finds by its sweep what no event told", async () => {
    kept = await KeptInstances.open({ sweepMs: 20 });
    await kept.keeper.apply(desiredInstance());
    const { nativeId } = await kept.untilState(INSTANCE, "RUNNING");
    kept.host.natives.set(nativeId, { ...kept.host.natives.get(nativeId)!, state: "FAILED", reason: "CRASHED" });
    await kept.untilState(INSTANCE, "ERROR");
    kept.host.natives.delete(nativeId);
    await until(() => kept.last(INSTANCE)?.stateReason === "MISSING");
    kept.host.natives.set("quiet", { ...kept.host.add({}), nativeId: "quiet" });
    await until(() => kept.last("quiet")?.state === InstanceState.STOPPED);
    kept.host.natives.delete("quiet");
    await until(() => kept.last("quiet")?.state === InstanceState.DELETED);
  });

  it("asks again soon for a list that failed", async () => {
    let lists = 0;
    kept = await KeptInstances.open({}, async (point) => {
      if (point !== "list before") return;
      lists += 1;
      if (lists === 1) throw new FleetError("FAILED_PRECONDITION", "One of them was just removed.", { reason: "EngineRefused" });
    });
    expect(lists).toBe(2);
  });

  it("starts what a boot of the host has ended, and nothing else", async () => {
    kept = await KeptInstances.open();
    await kept.keeper.apply(desiredInstance());
    await kept.keeper.apply(desiredInstance({ instanceId: "inst-2", desiredState: STOPPED }));
    await Promise.all([kept.untilState(INSTANCE, "RUNNING"), kept.untilState("inst-2", "STOPPED")]);
    await kept.keeper.stop();
    kept.host.reboot();
    kept.told.length = 0;
    await kept.start();
    await kept.untilState(INSTANCE, "RUNNING");
    expect(kept.last(INSTANCE)?.stateReason).toBe("HOST_REBOOTED");
    expect(Object.fromEntries(kept.host.starts)).toEqual({ [INSTANCE]: 2 });
  });
});

describe("what a keeper did not make", () => {
  it("is told with what it is, as long as it is there, and not touched", async () => {
    kept = await KeptInstances.open();
    const { nativeId } = kept.host.add({ name: "by-hand", state: "RUNNING", reason: "STARTED", cpuCores: 3 });
    await until(() => kept.last(nativeId) !== undefined);
    const seen = {
      instanceId: "",
      nativeId,
      generation: 0,
      name: "by-hand",
      type: InstanceType.VM,
      cpuCores: 3,
      state: InstanceState.RUNNING,
      made: true,
    };
    expect(kept.last(nativeId)).toMatchObject(seen);
    expect(kept.keeper.observations([])).toMatchObject([seen]);
    kept.host.change(nativeId, { state: "PAUSED" });
    await until(() => kept.last(nativeId)?.state === InstanceState.SUSPENDED);
    kept.host.remove(nativeId);
    await until(() => kept.last(nativeId)?.state === InstanceState.DELETED);
    expect(kept.keeper.observations([])).toEqual([]);
    expect(kept.driver.calls).toEqual([]);
  });

  it("is told by its mark where that is this node's, and taken over again when the control plane says what it is to be", async () => {
    kept = await KeptInstances.open();
    const mine = kept.host.add({ mark: { instanceId: INSTANCE, nodeId: NODE, generation: 4 }, state: "RUNNING" });
    const others = kept.host.add({ mark: { instanceId: "inst-2", nodeId: "node-2", generation: 1 }, state: "RUNNING" });
    await until(() => kept.keeper.observations([]).length === 2);
    expect(kept.last(INSTANCE)).toMatchObject({ instanceId: INSTANCE, generation: 4, revision: 0 });
    expect(kept.last(others.nativeId)).toMatchObject({ instanceId: "", generation: 0 });
    await kept.keeper.apply(desiredInstance({ generation: 4, revision: 7, madeBefore: true }));
    await until(() => kept.last(INSTANCE)?.revision === 7);
    expect(kept.last(INSTANCE)).toMatchObject({ nativeId: mine.nativeId, state: InstanceState.RUNNING, settled: true });
    expect(kept.keeper.observations([])).toHaveLength(2);
    expect(kept.driver.calls).toEqual([]);
  });

  it("is adopted by its native id, unless this host's configuration forbids it", async () => {
    kept = await KeptInstances.open();
    const { nativeId } = kept.host.add({ state: "RUNNING", reason: "STARTED" });
    await kept.keeper.apply(desiredInstance({ adoptNativeId: nativeId, madeBefore: true }));
    await kept.untilState(INSTANCE, "RUNNING");
    expect(kept.host.natives.get(nativeId)?.mark).toEqual({ instanceId: INSTANCE, nodeId: NODE, generation: 1 });
    expect(kept.keeper.observations([])).toHaveLength(1);
    await kept.keeper.stop();
    await kept.start({ adoption: false });
    const other = kept.host.add({ state: "RUNNING" });
    const refused = kept.keeper.apply(desiredInstance({ instanceId: "inst-2", adoptNativeId: other.nativeId, madeBefore: true }));
    await expect(refused).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "AdoptionNotAllowed" });
    // What was adopted before stays.
    expect(await kept.keeper.apply(desiredInstance({ revision: 2, adoptNativeId: nativeId, madeBefore: true }))).toBe(2);
  });

  it("is removed by a message that says no more than its id, once the control plane wants that", async () => {
    kept = await KeptInstances.open();
    kept.host.add({ mark: { instanceId: INSTANCE, nodeId: NODE, generation: 4 }, state: "RUNNING" });
    await until(() => kept.last(INSTANCE) !== undefined);
    const { nodeId, instanceId } = desiredInstance();
    const removal = { nodeId, instanceId, generation: 4, revision: 9, desiredState: DELETED, force: true, madeBefore: true };
    await kept.keeper.apply(ApplyInstanceRequest.fromPartial(removal));
    await kept.untilState(INSTANCE, "DELETED");
    expect(kept.host.natives.size).toBe(0);
    expect(kept.driver.calls).toEqual(["remove"]);
  });

  it("and what it made as another node is left alone", async () => {
    kept = await KeptInstances.open();
    await kept.keeper.apply(desiredInstance());
    const { nativeId } = await kept.untilState(INSTANCE, "RUNNING");
    await kept.keeper.stop();
    kept.told.length = 0;
    await kept.start({ nodeId: "node-9" });
    expect(kept.keeper.observations([])).toMatchObject([{ instanceId: "", nativeId, state: InstanceState.RUNNING }]);
    expect(kept.keeper.allocated().cpuCores).toBe(0);
    expect(kept.driver.calls).toEqual([]);
    await kept.keeper.stop();
    await kept.start();
    expect(kept.keeper.observations([])).toMatchObject([{ instanceId: INSTANCE, revision: 1, state: InstanceState.RUNNING }]);
  });

  it("stays as it is where it bears a copy of a mark", async () => {
    kept = await KeptInstances.open();
    await kept.keeper.apply(desiredInstance());
    await kept.untilState(INSTANCE, "RUNNING");
    const copy = kept.host.add({ mark: { instanceId: INSTANCE, nodeId: NODE, generation: 1 }, name: "copy" });
    await until(() => kept.last(copy.nativeId) !== undefined);
    expect(kept.last(copy.nativeId)).toMatchObject({ instanceId: "", name: "copy" });
    expect(kept.last(INSTANCE)).toMatchObject({ state: InstanceState.RUNNING });
  });
});

describe("a keeper whose disk fails", () => {
  it("does not take what it cannot keep", async () => {
    kept = await KeptInstances.open();
    await rename(kept.directory, `${kept.directory}-away`);
    await writeFile(kept.directory, "");
    await expect(kept.keeper.apply(desiredInstance())).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "StateNotSaved" });
    expect(kept.keeper.observations([])).toEqual([]);
    await rm(kept.directory);
    await rename(`${kept.directory}-away`, kept.directory);
    await kept.keeper.apply(desiredInstance({ desiredState: RUNNING }));
    await kept.untilState(INSTANCE, "RUNNING");
  });
});
