import { describe, expect, it } from "vitest";
import type { NativeInstance } from "../../../../agent/drivers/instance-driver.ts";
import type { Plan } from "../../../../agent/instances/plan-draft.ts";
import { planNext } from "../../../../agent/instances/planner.ts";
import { type FailedStep, firstProgress, goalOf, type Progress, sizeOf } from "../../../../agent/instances/progress.ts";
import { afterFailure, afterStep } from "../../../../agent/instances/step-outcome.ts";
import { takeDesired } from "../../../../agent/instances/take-desired.ts";
import { DesiredState, InstanceState, InstanceType } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { ApplyInstanceRequest } from "../../../../schema/generated/proto/hypervisor/v1/instances.ts";
import { desiredInstance, INSTANCE, NODE, nativeInstance } from "../../../support/instance-samples.ts";

const NOW = 1_800_000_000_000;
const BOOT = "boot-1";

/** A host with at most one thing on it, and an agent's notes about it: what the executor does, without its waits. */
class Bench {
  desired: ApplyInstanceRequest;
  progress: Progress;
  native: NativeInstance | null = null;
  now = NOW;
  bootId = BOOT;
  runs = 0;
  /** Deaf to requests to stop. */
  isDeaf = false;
  readonly refused = new Map<FailedStep, string>();
  readonly steps: string[] = [];
  readonly states: string[] = [];

  constructor(desired: ApplyInstanceRequest) {
    this.desired = desired;
    this.progress = firstProgress(desired);
  }

  plan(): Plan {
    const plan = planNext({ desired: this.desired, progress: this.progress, native: this.native, now: this.now, bootId: this.bootId });
    this.progress = plan.progress;
    const { state, reason } = plan.progress.shown;
    const shown = `${state.replace("INSTANCE_STATE_", "")} ${reason}`;
    if (this.states.at(-1) !== shown) this.states.push(shown);
    return plan;
  }

  /** A new message. */
  say(change: Partial<ApplyInstanceRequest>): this {
    const desired = { ...this.desired, revision: this.desired.revision + 1, ...change };
    const { record } = takeDesired({ kind: "record", record: { desired: this.desired, progress: this.progress } }, desired, this.now);
    if (record === null) throw new Error("nothing changed");
    this.desired = record.desired;
    this.progress = record.progress;
    return this;
  }

  /** Plans and does, until there is nothing to do. Waits are over at once. */
  settle(): Plan {
    for (let count = 0; count < 30; count += 1) {
      const plan = this.plan();
      const { step } = plan;
      if (step.kind === "observe" || step.kind === "forget") return plan;
      this.#elapse(step.kind === "wait" ? step.until : undefined);
      if (step.kind === "wait") continue;
      this.steps.push(step.kind);
      this.#do(step.kind);
    }
    throw new Error(`It does not settle: ${this.steps.join(", ")}`);
  }

  #elapse(until = this.now + 1): void {
    this.now = Math.max(this.now, until);
    if (this.native?.state === "STOPPING" && !this.isDeaf) this.native = { ...this.native, state: "STOPPED", reason: "REQUESTED" };
  }

  #do(step: FailedStep): void {
    const { desired, now } = this;
    const message = this.refused.get(step);
    if (message !== undefined) {
      const outcome = { step, desired, isCurrent: true, reason: "Refused", message, native: this.native, now };
      this.progress = afterFailure(this.progress, outcome);
      return;
    }
    this.#effect(step);
    this.progress = afterStep(this.progress, { step, desired, isCurrent: true, nativeId: this.native?.nativeId, now });
  }

  #effect(step: FailedStep): void {
    const { native } = this;
    if (step === "create") {
      this.native =
        native ??
        nativeInstance({
          state: "STOPPED",
          reason: "UNKNOWN",
          mark: { instanceId: INSTANCE, nodeId: NODE, generation: this.desired.generation },
        });
      return;
    }
    if (step === "remove") {
      this.native = null;
      return;
    }
    if (native === null) throw new Error(`${step} of nothing`);
    const isDown = native.state === "STOPPED" || native.state === "FAILED";
    if (step === "start") {
      if (!isDown) throw new Error(`start of one that is ${native.state}`);
      this.runs += 1;
      this.native = { ...native, state: "RUNNING", reason: "STARTED", startedAt: new Date(this.now) };
    } else if (step === "kill") this.native = { ...native, state: "STOPPED", reason: "DESTROYED" };
    else if (step === "requestStop" && !this.isDeaf) this.native = { ...native, state: "STOPPING", reason: "REQUESTED" };
    else if (step === "suspend" && native.state === "RUNNING") this.native = { ...native, state: "PAUSED", reason: "REQUESTED" };
    else if (step === "resume" && native.state === "PAUSED") this.native = { ...native, state: "RUNNING", reason: "RESUMED" };
    else if (step === "adopt")
      this.native = { ...native, mark: { instanceId: INSTANCE, nodeId: NODE, generation: this.desired.generation } };
  }
}

function running(given: Partial<ApplyInstanceRequest> = {}): Bench {
  const bench = new Bench(desiredInstance(given));
  bench.settle();
  bench.steps.length = 0;
  bench.states.length = 0;
  return bench;
}

describe("a plan makes an instance what it is to be", () => {
  it("by making and starting it", () => {
    const bench = new Bench(desiredInstance());
    expect(bench.settle().settled).toBe(true);
    expect(bench.steps).toEqual(["create", "start"]);
    expect(bench.states).toEqual(["CREATING REQUESTED", "STARTING REQUESTED", "RUNNING REQUESTED"]);
  });

  it("by making it alone where it is to be stopped", () => {
    const bench = new Bench(desiredInstance({ desiredState: DesiredState.STOPPED }));
    expect(bench.settle().settled).toBe(true);
    expect(bench.steps).toEqual(["create"]);
    expect(bench.states).toEqual(["CREATING REQUESTED", "STOPPED REQUESTED"]);
  });

  it("by asking the guest to shut down", () => {
    const bench = running().say({ desiredState: DesiredState.STOPPED });
    bench.settle();
    expect(bench.steps).toEqual(["requestStop"]);
    expect(bench.states).toEqual(["STOPPING REQUESTED", "STOPPED REQUESTED"]);
  });

  it("by killing one that does not shut down in its time, having asked a VM again every 10 s", () => {
    const bench = running().say({ desiredState: DesiredState.STOPPED, stopTimeoutSeconds: 25 });
    bench.isDeaf = true;
    bench.settle();
    expect(bench.steps).toEqual(["requestStop", "requestStop", "requestStop", "kill"]);
    expect(bench.states).toEqual(["STOPPING REQUESTED", "STOPPED STOP_TIMED_OUT"]);
    expect(bench.now - NOW).toBeGreaterThanOrEqual(25_000);
    expect(bench.now - NOW).toBeLessThan(26_000);
  });

  it("by asking a container once", () => {
    const bench = running({ type: InstanceType.CONTAINER });
    bench.native = { ...bench.native!, type: InstanceType.CONTAINER };
    bench.isDeaf = true;
    bench.say({ desiredState: DesiredState.STOPPED, stopTimeoutSeconds: 25 }).settle();
    expect(bench.steps).toEqual(["requestStop", "kill"]);
  });

  it("by killing at once where that is by force, also while the guest has its time", () => {
    const bench = running().say({ desiredState: DesiredState.STOPPED, force: true });
    bench.settle();
    expect(bench.steps).toEqual(["kill"]);
    expect(bench.states.at(-1)).toBe("STOPPED REQUESTED");
    const patient = running().say({ desiredState: DesiredState.STOPPED });
    patient.isDeaf = true;
    patient.progress = afterStep(patient.plan().progress, { step: "requestStop", desired: patient.desired, isCurrent: true, now: NOW });
    expect(patient.plan().step).toMatchObject({ kind: "wait" });
    patient.say({ force: true }).settle();
    expect(patient.steps).toEqual(["kill"]);
  });

  it("by waiting for the end of one that was killed", () => {
    const bench = running().say({ desiredState: DesiredState.STOPPED, force: true });
    expect(bench.plan().step.kind).toBe("kill");
    bench.progress = afterStep(bench.progress, { step: "kill", desired: bench.desired, isCurrent: true, now: bench.now });
    expect(bench.plan().step).toEqual({ kind: "wait", until: bench.now + 3000 });
    bench.now += 3000;
    expect(bench.plan().step.kind).toBe("kill");
  });

  it("by letting a suspended guest go on before it is asked to shut down", () => {
    const bench = running().say({ desiredState: DesiredState.SUSPENDED });
    bench.settle();
    expect(bench.states).toEqual(["RUNNING REQUESTED", "SUSPENDED REQUESTED"]);
    bench.say({ desiredState: DesiredState.STOPPED }).settle();
    expect(bench.steps).toEqual(["suspend", "resume", "requestStop"]);
  });

  it("by suspending and resuming it", () => {
    const bench = running().say({ desiredState: DesiredState.SUSPENDED });
    bench.settle();
    bench.say({ desiredState: DesiredState.RUNNING }).settle();
    expect(bench.steps).toEqual(["suspend", "resume"]);
    expect(bench.states).toEqual(["RUNNING REQUESTED", "SUSPENDED REQUESTED", "RUNNING REQUESTED"]);
  });

  it("by a restart for each that was asked for, once", () => {
    const bench = running().say({ restarts: 1 });
    bench.settle();
    expect(bench.steps).toEqual(["requestStop", "start"]);
    expect(bench.states).toEqual(["RESTARTING REQUESTED", "RUNNING REQUESTED"]);
    bench.settle();
    expect(bench.runs).toBe(2);
    bench.say({ restarts: 2, force: true }).settle();
    expect(bench.steps).toEqual(["requestStop", "start", "kill", "start"]);
    expect(bench.runs).toBe(3);
  });

  it("by a start after a stop that is under way has come to its end", () => {
    const bench = running().say({ desiredState: DesiredState.STOPPED });
    bench.isDeaf = true;
    bench.progress = afterStep(bench.plan().progress, { step: "requestStop", desired: bench.desired, isCurrent: true, now: NOW });
    bench.say({ desiredState: DesiredState.RUNNING });
    expect(bench.plan().step.kind).toBe("wait");
    bench.native = { ...bench.native!, state: "STOPPED", reason: "REQUESTED" };
    bench.settle();
    expect(bench.steps).toEqual(["start"]);
  });

  it("by resizing a VM while it is down, before it is started, and a container as it is", () => {
    const size = { image: "tiny", cpuCores: 4, memoryBytes: 2 ** 31, disks: [] };
    const vm = running().say({ desiredState: DesiredState.STOPPED });
    vm.settle();
    vm.say({ spec: desiredInstance({ spec: size as never }).spec }).settle();
    expect(vm.steps).toEqual(["requestStop", "resize"]);
    vm.say({ desiredState: DesiredState.RUNNING }).settle();
    expect(vm.steps).toEqual(["requestStop", "resize", "start"]);
    const container = running({ type: InstanceType.CONTAINER });
    container.native = { ...container.native!, type: InstanceType.CONTAINER };
    const plan = container.say({ spec: desiredInstance({ spec: size as never }).spec }).settle();
    expect(container.steps).toEqual(["resize"]);
    expect(container.states).toEqual(["RUNNING REQUESTED"]);
    expect(plan.settled).toBe(true);
  });

  it("by stopping and removing it, or removing it at once by force", () => {
    const bench = running().say({ desiredState: DesiredState.DELETED });
    expect(bench.settle().step.kind).toBe("forget");
    expect(bench.steps).toEqual(["requestStop", "remove"]);
    const forced = running().say({ desiredState: DesiredState.DELETED, force: true });
    forced.settle();
    expect(forced.steps).toEqual(["remove"]);
    const deaf = running().say({ desiredState: DesiredState.DELETED });
    deaf.isDeaf = true;
    expect(deaf.settle().step.kind).toBe("forget");
    expect(deaf.steps.at(-1)).toBe("remove");
    const deafToAll = running().say({ desiredState: DesiredState.DELETED });
    deafToAll.refused.set("requestStop", "It has no power button.");
    expect(deafToAll.settle().step.kind).toBe("forget");
    expect(deafToAll.steps).toEqual(["requestStop", "remove"]);
  });

  it("by removing what may be half made, once", () => {
    const bench = new Bench(desiredInstance());
    expect(bench.plan().step.kind).toBe("create");
    bench.say({ desiredState: DesiredState.DELETED });
    expect(bench.settle().step.kind).toBe("forget");
    expect(bench.steps).toEqual(["remove"]);
    // One that the agent has never heard of may have been made by an agent that lost its disk.
    const unknown = new Bench(desiredInstance({ desiredState: DesiredState.DELETED }));
    expect(unknown.settle().step.kind).toBe("forget");
    expect(unknown.steps).toEqual(["remove"]);
  });
});

describe("after a crash of the agent a plan goes on", () => {
  it("with a creation that was not noted, by the same call", () => {
    const bench = new Bench(desiredInstance());
    bench.plan();
    bench.native = nativeInstance({ state: "STOPPED", reason: "UNKNOWN" });
    bench.settle();
    expect(bench.steps).toEqual(["create", "start"]);
  });

  it("with a start that was not noted, without another one", () => {
    const bench = new Bench(desiredInstance({ desiredState: DesiredState.STOPPED }));
    bench.settle();
    bench.say({ desiredState: DesiredState.RUNNING });
    expect(bench.plan().step.kind).toBe("start");
    bench.native = { ...bench.native!, state: "RUNNING" };
    bench.settle();
    expect(bench.runs).toBe(0);
    expect(bench.states.at(-1)).toBe("RUNNING REQUESTED");
  });

  it("with a start that was not noted of one that has ended since: it does not run twice", () => {
    const bench = new Bench(desiredInstance({ type: InstanceType.CONTAINER }));
    bench.native = nativeInstance({ type: InstanceType.CONTAINER, state: "STOPPED", reason: "CREATED" });
    bench.progress = { ...bench.progress, made: true, size: sizeOf(bench.desired.spec) };
    expect(bench.plan().step.kind).toBe("start");
    bench.native = { ...bench.native, reason: "EXITED", exitCode: 0, startedAt: new Date(NOW) };
    expect(bench.settle().settled).toBe(true);
    expect(bench.runs).toBe(0);
    expect(bench.states.at(-1)).toBe("STOPPED EXITED");
    expect(bench.progress.shown.exitCode).toBe(0);
  });

  it("with a restart where it was: the stop, the start, or neither", () => {
    const stopping = running().say({ restarts: 1 });
    expect(stopping.plan().step.kind).toBe("requestStop");
    stopping.settle();
    expect(stopping.runs).toBe(2);
    const started = running().say({ restarts: 1 });
    started.plan();
    started.native = { ...started.native!, state: "STOPPED", reason: "REQUESTED" };
    expect(started.plan().step.kind).toBe("start");
    started.native = { ...started.native, state: "RUNNING" };
    started.settle();
    expect(started.steps).toEqual([]);
    expect(started.progress.restarts).toBe(1);
  });

  it("with the rest of a guest's time, by a clock that may have been set", () => {
    const bench = running().say({ desiredState: DesiredState.STOPPED, stopTimeoutSeconds: 30 });
    bench.isDeaf = true;
    bench.plan();
    bench.progress = afterStep(bench.progress, { step: "requestStop", desired: bench.desired, isCurrent: true, now: NOW });
    bench.now -= 86_400_000;
    const { step } = bench.plan();
    expect(step.kind === "wait" && step.until - bench.now).toBeLessThanOrEqual(30_000);
  });

  it("with a kill of what an interrupted start may have left, where it is to be stopped", () => {
    const bench = new Bench(desiredInstance({ desiredState: DesiredState.STOPPED }));
    bench.settle();
    bench.say({ desiredState: DesiredState.RUNNING });
    expect(bench.plan().step.kind).toBe("start");
    bench.steps.length = 0;
    bench.say({ desiredState: DesiredState.STOPPED }).settle();
    expect(bench.steps).toEqual(["kill"]);
  });
});

describe("what was done by the guest or by others is followed, not fought", () => {
  const down = (bench: Bench, change: Partial<NativeInstance>) => {
    bench.native = { ...bench.native!, state: "STOPPED", ...change };
    const plan = bench.settle();
    expect(bench.steps).toEqual([]);
    expect(plan.settled).toBe(true);
    return bench;
  };

  it("a shutdown by the guest", () => {
    const bench = down(running(), { reason: "GUEST_SHUTDOWN" });
    expect(bench.states).toEqual(["STOPPED GUEST_SHUTDOWN"]);
    // Nor by the next start of the agent, when libvirt has forgotten the reason.
    down(bench, { reason: "UNKNOWN" });
    expect(bench.states).toEqual(["STOPPED GUEST_SHUTDOWN"]);
  });

  it("a crash, and a command that ended with an error", () => {
    expect(down(running(), { state: "FAILED", reason: "CRASHED" }).states).toEqual(["ERROR CRASHED"]);
    const exited = down(running(), { state: "FAILED", reason: "EXITED", exitCode: 3, message: "It ended." });
    expect(exited.progress.shown).toEqual({ state: InstanceState.ERROR, reason: "EXITED", exitCode: 3, message: "It ended." });
  });

  it("a stop, a start, a suspension by hand", () => {
    const bench = down(running(), { reason: "DESTROYED" });
    down(bench, { state: "RUNNING", reason: "STARTED" });
    down(bench, { state: "PAUSED", reason: "REQUESTED" });
    down(bench, { state: "RUNNING", reason: "RESUMED" });
    expect(bench.states).toEqual([
      "STOPPED CHANGED_OUTSIDE",
      "RUNNING CHANGED_OUTSIDE",
      "SUSPENDED CHANGED_OUTSIDE",
      "RUNNING CHANGED_OUTSIDE",
    ]);
  });

  it("a guest on its way down, until it is down", () => {
    const bench = running();
    bench.native = { ...bench.native!, state: "STOPPING", reason: "GUEST_SHUTDOWN" };
    expect(bench.plan()).toMatchObject({ step: { kind: "observe" }, settled: false });
    down(bench, { reason: "GUEST_SHUTDOWN" });
    expect(bench.states).toEqual(["STOPPING GUEST_SHUTDOWN", "STOPPED GUEST_SHUTDOWN"]);
  });

  it("a disk's error, until the guest goes on", () => {
    const bench = down(running(), { state: "FAILED", reason: "IO_ERROR" });
    expect(bench.progress.goal).toBe("RUNNING");
    down(bench, { state: "RUNNING", reason: "RESUMED" });
    expect(bench.states).toEqual(["ERROR IO_ERROR", "RUNNING CHANGED_OUTSIDE"]);
    bench.native = { ...bench.native!, state: "FAILED", reason: "IO_ERROR" };
    bench.settle();
    bench.say({ desiredState: DesiredState.RUNNING }).settle();
    expect(bench.steps).toEqual(["kill", "start"]);
  });

  it("but what is asked for after it is done", () => {
    const bench = down(running(), { reason: "GUEST_SHUTDOWN" });
    bench.say({ desiredState: DesiredState.RUNNING }).settle();
    expect(bench.steps).toEqual(["start"]);
    const crashed = down(running(), { state: "FAILED", reason: "CRASHED" });
    crashed.say({ desiredState: DesiredState.STOPPED }).settle();
    expect(crashed.steps).toEqual(["kill"]);
    expect(crashed.states.at(-1)).toBe("STOPPED REQUESTED");
  });

  it("a removal: it is MISSING, never made again, and what it is when it comes back", () => {
    const bench = running();
    const native = bench.native!;
    bench.native = null;
    expect(bench.settle().settled).toBe(true);
    expect(bench.states).toEqual(["ERROR MISSING"]);
    bench.say({ desiredState: DesiredState.RUNNING }).settle();
    expect(bench.steps).toEqual([]);
    bench.native = { ...native, state: "STOPPED", reason: "UNKNOWN" };
    bench.settle();
    expect(bench.states).toEqual(["ERROR MISSING", "STOPPED UNKNOWN"]);
    bench.native = null;
    bench.settle();
    bench.say({ desiredState: DesiredState.DELETED });
    expect(bench.settle().step.kind).toBe("forget");
    expect(bench.steps).toEqual(["remove"]);
  });

  it("a removal before the agent lost its disk", () => {
    const bench = new Bench(desiredInstance({ madeBefore: true }));
    expect(bench.settle().settled).toBe(true);
    expect(bench.steps).toEqual([]);
    expect(bench.states).toEqual(["ERROR MISSING"]);
  });
});

describe("after the host booted", () => {
  it("what ran and is to run is started again", () => {
    const bench = running();
    bench.bootId = "boot-2";
    bench.native = { ...bench.native!, state: "STOPPED", reason: "UNKNOWN" };
    bench.settle();
    expect(bench.steps).toEqual(["start"]);
    expect(bench.states).toEqual(["STARTING HOST_REBOOTED", "RUNNING HOST_REBOOTED"]);
  });

  it("what was stopped, by the guest too, stays so", () => {
    const bench = running();
    bench.native = { ...bench.native!, state: "STOPPED", reason: "GUEST_SHUTDOWN" };
    bench.settle();
    bench.bootId = "boot-2";
    bench.native = { ...bench.native, reason: "UNKNOWN" };
    expect(bench.settle().settled).toBe(true);
    expect(bench.steps).toEqual([]);
    expect(bench.states).toEqual(["STOPPED GUEST_SHUTDOWN"]);
  });

  it("what was suspended is lost, and stays down", () => {
    const bench = running().say({ desiredState: DesiredState.SUSPENDED });
    bench.settle();
    bench.bootId = "boot-2";
    bench.native = { ...bench.native!, state: "STOPPED", reason: "UNKNOWN" };
    bench.settle();
    expect(bench.steps).toEqual(["suspend"]);
    expect(bench.states.at(-1)).toBe("STOPPED HOST_REBOOTED");
  });

  it("a stop that was under way is done, and a restart goes on", () => {
    const stopping = running().say({ desiredState: DesiredState.STOPPED });
    stopping.plan();
    stopping.bootId = "boot-2";
    stopping.native = { ...stopping.native!, state: "STOPPED", reason: "UNKNOWN" };
    stopping.settle();
    expect(stopping.steps).toEqual([]);
    const restarting = running().say({ restarts: 1 });
    restarting.plan();
    restarting.bootId = "boot-2";
    restarting.native = { ...restarting.native!, state: "FAILED", reason: "LOST" };
    restarting.settle();
    expect(restarting.steps).toEqual(["kill", "start"]);
    expect(restarting.progress.restarts).toBe(1);
  });

  it("nothing is concluded where the boot is not known", () => {
    const bench = running();
    bench.bootId = "";
    bench.native = { ...bench.native!, state: "STOPPED", reason: "UNKNOWN" };
    bench.settle();
    expect(bench.steps).toEqual([]);
    expect(bench.states).toEqual(["STOPPED UNKNOWN"]);
  });
});

describe("what a host refuses", () => {
  it("is the instance's ERROR, and tried again only by a new revision", () => {
    const bench = new Bench(desiredInstance());
    bench.refused.set("create", "There is no such image.");
    expect(bench.settle().settled).toBe(true);
    expect(bench.progress.shown).toMatchObject({ state: InstanceState.ERROR, reason: "Refused", message: "There is no such image." });
    bench.settle();
    expect(bench.steps).toEqual(["create"]);
    bench.refused.clear();
    bench.say({ desiredState: DesiredState.RUNNING }).settle();
    expect(bench.steps).toEqual(["create", "create", "start"]);
    expect(bench.states).toEqual(["CREATING REQUESTED", "ERROR Refused", "CREATING REQUESTED", "STARTING REQUESTED", "RUNNING REQUESTED"]);
  });

  it("is over when it has been done by hand", () => {
    const bench = new Bench(desiredInstance());
    bench.refused.set("start", "There is no memory.");
    bench.settle();
    expect(bench.states.at(-1)).toBe("ERROR Refused");
    bench.native = { ...bench.native!, state: "RUNNING", reason: "STARTED" };
    bench.settle();
    expect(bench.states.at(-1)).toBe("RUNNING CHANGED_OUTSIDE");
    expect(bench.steps).toEqual(["create", "start"]);
  });

  it("leaves an instance as it is where it was well: a suspension, a resize", () => {
    const bench = running().say({ desiredState: DesiredState.SUSPENDED });
    bench.refused.set("suspend", "Not this one.");
    expect(bench.settle().settled).toBe(true);
    expect(bench.progress.shown).toMatchObject({ state: InstanceState.RUNNING, reason: "Refused", message: "Not this one." });
    const stopped = new Bench(desiredInstance({ desiredState: DesiredState.STOPPED }));
    stopped.settle();
    stopped.refused.set("resize", "Too large.");
    const spec = { ...stopped.desired.spec!, cpuCores: 64 };
    expect(stopped.say({ spec }).settle().settled).toBe(true);
    expect(stopped.progress.shown).toMatchObject({ state: InstanceState.STOPPED, reason: "Refused" });
    expect(stopped.say({ desiredState: DesiredState.RUNNING }).settle().settled).toBe(true);
    expect(stopped.progress.shown).toMatchObject({ state: InstanceState.ERROR, reason: "Refused" });
    expect(stopped.runs).toBe(0);
  });

  it("is shown while a removal is tried on", () => {
    const bench = running().say({ desiredState: DesiredState.DELETED, force: true });
    bench.refused.set("remove", "The disk is busy.");
    expect(() => bench.settle()).toThrow("does not settle");
    expect(bench.plan()).toMatchObject({ step: { kind: "remove" }, settled: false });
    expect(bench.states.at(-1)).toBe("ERROR Refused");
    bench.refused.clear();
    expect(bench.settle().step.kind).toBe("forget");
  });

  it("is MISSING where that is why", () => {
    const bench = running().say({ desiredState: DesiredState.STOPPED });
    bench.refused.set("requestStop", "It is gone.");
    bench.native = null;
    bench.settle();
    expect(bench.states.at(-1)).toBe("ERROR MISSING");
  });
});

describe("placements", () => {
  it("replace what an earlier one left on the same host", () => {
    const bench = running();
    bench.say({ generation: 2, revision: 1 }).settle();
    expect(bench.steps).toEqual(["remove", "create", "start"]);
    expect(bench.states).toEqual(["CREATING REQUESTED", "STARTING REQUESTED", "RUNNING REQUESTED"]);
  });

  it("replace what an agent without a memory finds of an earlier one, and leave a newer one alone", () => {
    const bench = new Bench(desiredInstance({ generation: 2 }));
    bench.native = nativeInstance({ mark: { instanceId: INSTANCE, nodeId: NODE, generation: 1 } });
    bench.settle();
    expect(bench.steps).toEqual(["remove", "create", "start"]);
    const late = new Bench(desiredInstance({ generation: 2 }));
    late.native = nativeInstance({ mark: { instanceId: INSTANCE, nodeId: NODE, generation: 3 } });
    late.settle();
    expect(late.steps).toEqual([]);
    expect(late.states).toEqual(["ERROR StaleGeneration"]);
  });

  it("go on with what was made before", () => {
    const bench = running();
    bench.say({ generation: 2, revision: 1, madeBefore: true }).settle();
    expect(bench.steps).toEqual([]);
  });
});

describe("an adoption", () => {
  const adoption = { adoptNativeId: "native-1", madeBefore: true };

  it("leaves the mark and makes it what it is to be", () => {
    const bench = new Bench(desiredInstance({ ...adoption, desiredState: DesiredState.STOPPED }));
    bench.native = nativeInstance({ mark: null, state: "STOPPED", reason: "UNKNOWN" });
    expect(bench.settle().settled).toBe(true);
    expect(bench.steps).toEqual(["adopt"]);
    expect(bench.states.at(-1)).toMatch(/^STOPPED/);
    bench.say({ desiredState: DesiredState.RUNNING }).settle();
    expect(bench.steps).toEqual(["adopt", "start"]);
  });

  it("of what is not there, or another instance of the fleet already, is an ERROR", () => {
    const missing = new Bench(desiredInstance(adoption));
    missing.settle();
    expect(missing.states).toEqual(["ERROR MISSING"]);
    const taken = new Bench(desiredInstance(adoption));
    taken.native = nativeInstance({ mark: { instanceId: "inst-2", nodeId: NODE, generation: 1 } });
    taken.settle();
    expect(taken.states).toEqual(["ERROR AlreadyManaged"]);
    expect([...missing.steps, ...taken.steps]).toEqual([]);
  });

  it("that was not carried out is forgotten without touching what it was about", () => {
    const bench = new Bench(desiredInstance({ ...adoption, desiredState: DesiredState.DELETED }));
    bench.native = nativeInstance({ mark: null });
    expect(bench.settle().step.kind).toBe("forget");
    expect(bench.steps).toEqual([]);
  });
});

describe("every situation", () => {
  const goals = [DesiredState.RUNNING, DesiredState.STOPPED, DesiredState.SUSPENDED, DesiredState.DELETED];
  const natives: Array<Partial<NativeInstance> | null> = [
    null,
    { state: "RUNNING" },
    { state: "PAUSED", reason: "REQUESTED" },
    { state: "STOPPING", reason: "GUEST_SHUTDOWN" },
    { state: "STOPPED", reason: "UNKNOWN" },
    { state: "FAILED", reason: "CRASHED" },
    { state: "FAILED", reason: "IO_ERROR" },
    { state: "STOPPED", reason: "EXITED", exitCode: 1, startedAt: new Date(NOW - 5000) },
  ];
  const flags: Array<Partial<Progress>> = [{}];
  const also = (...choices: Array<Partial<Progress>>) =>
    flags.splice(0, flags.length, ...flags.flatMap((flag) => choices.map((choice) => ({ ...flag, ...choice }))));
  also({ made: false }, { made: true }, { made: false, making: true });
  also({ reached: false }, { reached: true });
  also(
    { stopping: null },
    { stopping: { askedAt: null, until: NOW + 5000, timedOut: false } },
    { stopping: { askedAt: NOW, until: NOW + 5000, timedOut: false } },
  );
  also({ starting: null }, { starting: { before: null, restarts: 1 } }, { starting: { before: NOW - 5000, restarts: 0 } });
  also({ killedAt: null }, { killedAt: NOW });
  also({ up: false }, { up: true });
  also({ restarts: 0 }, { restarts: 1 });
  also({ bootId: "" }, { bootId: BOOT }, { bootId: "boot-0" });
  also({ failure: null }, { failure: { step: "start", reason: "Refused", message: "No.", native: "" } });

  it("comes to an end that fits what was found, whatever was noted before a crash", () => {
    let count = 0;
    const problems: string[] = [];
    for (const desiredState of goals) {
      for (const found of natives) {
        for (const flag of flags) {
          for (const force of [false, true]) {
            const bench = new Bench(desiredInstance({ desiredState, restarts: 1, force }));
            bench.native = found && nativeInstance(found);
            bench.progress = { ...bench.progress, size: sizeOf(bench.desired.spec), ...flag, goal: goalOf(desiredState) };
            const problem = problemOf(bench, bench.settle(), flag);
            if (problem !== null) problems.push(`${problem}: ${JSON.stringify({ desiredState, found, flag, force })}`);
            count += 1;
          }
        }
      }
    }
    expect(problems.slice(0, 5)).toEqual([]);
    expect(count).toBeGreaterThan(30_000);
  });
});

/** Null where the end fits. */
function problemOf({ native, desired, runs, steps }: Bench, { step, settled, progress }: Plan, before: Partial<Progress>): string | null {
  const { shown, goal, failure } = progress;
  if (runs > 1) return `it ran ${runs} times`;
  if (desired.desiredState === DesiredState.DELETED) return step.kind === "forget" && native === null ? null : "it is not removed";
  const isGoing = native?.state === "STOPPING";
  if (settled === isGoing) return "it does not say whether it is settled";
  const isDown = native?.state === "STOPPED" || native?.state === "FAILED";
  const fits: Partial<Record<InstanceState, boolean>> = {
    [InstanceState.RUNNING]: native?.state === "RUNNING" && goal === "RUNNING",
    [InstanceState.SUSPENDED]: native?.state === "PAUSED" && goal === "SUSPENDED",
    [InstanceState.STOPPED]: isDown && goal === "STOPPED",
    [InstanceState.STOPPING]: isGoing,
    [InstanceState.ERROR]: native === null || native.state === "FAILED" || native.exitCode === 1 || failure !== null,
  };
  if (fits[shown.state] !== true) return `${shown.state} is shown of one that is ${native?.state}`;
  // What had been reached is not fought, unless a restart was asked for, a stop was under way, or the host booted.
  const isUnderWay =
    before.stopping ||
    before.failure ||
    before.bootId === "boot-0" ||
    (before.restarts === 0 && desired.desiredState === DesiredState.RUNNING);
  return before.reached && before.made && !isUnderWay && steps.length > 0 ? `it was fought by ${steps.join(", ")}` : null;
}
