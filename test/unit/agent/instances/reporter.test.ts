import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { foundObservation } from "../../../../agent/instances/observation.ts";
import { InstanceReporter, type ReporterOptions } from "../../../../agent/instances/reporter.ts";
import type { Tombstone } from "../../../../agent/instances/take-desired.ts";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { InstanceState } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { InstanceObservation, ReportInstancesRequest } from "../../../../schema/generated/proto/hypervisor/v1/instances.ts";
import { NODE, nativeInstance } from "../../../support/instance-samples.ts";
import { until } from "../../../support/until.ts";

const { CREATING, STARTING, RUNNING, STOPPING, STOPPED, DELETED } = InstanceState;

let sent: ReportInstancesRequest[];
/** What the control plane does with the next reports; then it takes them. */
let answers: Array<() => Promise<{ fullWanted: boolean }>>;
let tombstones: Tombstone[];
let ending: AbortController;
let running: Promise<void>;
let reporter: InstanceReporter;

beforeEach(() => {
  sent = [];
  answers = [];
  tombstones = [];
  ending = new AbortController();
});

afterEach(async () => {
  ending.abort();
  await running;
});

function open(options: Partial<ReporterOptions> = {}): void {
  reporter = new InstanceReporter({
    nodeId: NODE,
    session: 7,
    send: async (report) => {
      sent.push(structuredClone(report));
      return (await answers.shift()?.()) ?? { fullWanted: false };
    },
    observe: (deleted) => [seen("all", RUNNING), ...deleted.map(({ instanceId }) => seen(instanceId, DELETED))],
    support: () => [],
    tombstones: (limit) => tombstones.slice(0, limit),
    log: createLogger({ name: "agent", level: "silent" }),
    ...options,
  });
  running = reporter.run(ending.signal);
}

/** After its first full report. */
async function opened(options: Partial<ReporterOptions> = {}): Promise<void> {
  open(options);
  reporter.registered();
  await until(() => sent.length === 1);
}

function seen(instanceId: string, state: InstanceState, more: Partial<InstanceObservation> = {}): InstanceObservation {
  return { ...foundObservation(nativeInstance(), true), instanceId, state, revision: 1, ...more };
}

function told(report: ReportInstancesRequest | undefined): string[] {
  return report?.observations.map(({ instanceId, state }) => `${instanceId} ${state.slice("INSTANCE_STATE_".length)}`) ?? [];
}

function failing(code: FleetError["code"]) {
  return () => Promise.reject(new FleetError(code, "No."));
}

describe("a reporter", () => {
  it("says nothing before the node is registered, and then all", async () => {
    open();
    reporter.offer(seen("inst-1", RUNNING));
    await delay(30);
    expect(sent).toEqual([]);
    reporter.registered();
    await until(() => sent.length === 1);
    expect(sent[0]).toMatchObject({ nodeId: NODE, session: 7, sequence: 1, full: true });
    expect(told(sent[0])).toEqual(["all RUNNING"]);
    await delay(30);
    expect(sent).toHaveLength(1);
  });

  it("tells a change at once, and what comes while a report is under way with the next one, every state in order", async () => {
    await opened();
    const gate = Promise.withResolvers<{ fullWanted: boolean }>();
    answers = [() => gate.promise];
    reporter.offer(seen("inst-1", CREATING));
    await until(() => sent.length === 2);
    reporter.offer(seen("inst-1", STARTING));
    reporter.offer(seen("inst-2", CREATING, { activity: "1 %" }));
    reporter.offer(seen("inst-2", CREATING, { activity: "2 %" }));
    reporter.offer(seen("inst-1", RUNNING));
    await delay(30);
    expect(sent).toHaveLength(2);
    gate.resolve({ fullWanted: false });
    await until(() => sent.length === 3);
    expect(sent.map(({ sequence, full }) => [sequence, full])).toEqual([
      [1, true],
      [2, false],
      [3, false],
    ]);
    expect([told(sent[1]), told(sent[2])]).toEqual([["inst-1 CREATING"], ["inst-1 STARTING", "inst-1 RUNNING", "inst-2 CREATING"]]);
    expect(sent[2]?.observations[2]?.activity).toBe("2 %");
  });

  it("keeps 8 states of an instance, and lets go of the oldest that only passed", async () => {
    open();
    reporter.registered();
    const gate = Promise.withResolvers<{ fullWanted: boolean }>();
    answers = [() => gate.promise];
    await until(() => sent.length === 1);
    for (let turn = 0; turn < 4; turn += 1)
      for (const state of [STARTING, RUNNING, STOPPING, STOPPED]) reporter.offer(seen("inst-1", state));
    gate.resolve({ fullWanted: false });
    await until(() => sent.length === 2);
    expect(told(sent[1])).toEqual(Array.from({ length: 4 }, () => ["inst-1 RUNNING", "inst-1 STOPPED"]).flat());
  });

  it("sends at most 500 at a time, and all of them", async () => {
    await opened();
    for (let index = 0; index < 1200; index += 1) reporter.offer(seen(`inst-${index}`, RUNNING));
    await until(() => sent.length === 4);
    expect(sent.slice(1).map(({ observations }) => observations.length)).toEqual([500, 500, 200]);
    expect(new Set(sent.slice(1).flatMap(told)).size).toBe(1200);
  });

  it("sends a report without an answer again as it was, and what came meanwhile after it", async () => {
    await opened();
    answers = [failing("UNAVAILABLE"), failing("DEADLINE_EXCEEDED")];
    reporter.offer(seen("inst-1", STARTING));
    await until(() => sent.length === 2);
    reporter.offer(seen("inst-1", RUNNING));
    await until(() => sent.length === 5);
    expect(sent.slice(1, 4).map(({ sequence }) => sequence)).toEqual([2, 2, 2]);
    expect(sent.slice(1).map(told)).toEqual([["inst-1 STARTING"], ["inst-1 STARTING"], ["inst-1 STARTING"], ["inst-1 RUNNING"]]);
  });

  it("makes a full report anew where it got no answer", async () => {
    answers = [failing("UNAVAILABLE")];
    await opened();
    await until(() => sent.length === 2);
    expect(sent.map(({ sequence, full }) => [sequence, full])).toEqual([
      [1, true],
      [2, true],
    ]);
  });

  it("is quiet after a refusal, until the node is registered again", async () => {
    answers = [failing("UNIMPLEMENTED")];
    await opened();
    reporter.offer(seen("inst-1", RUNNING));
    reporter.wantFull();
    await delay(60);
    expect(sent).toHaveLength(1);
    reporter.registered();
    await until(() => sent.length === 2);
    expect(sent[1]?.full).toBe(true);
  });

  it("makes a full report when it is asked for, by the control plane too, and now and then by itself", async () => {
    await opened({ fullEveryMs: 200 });
    answers = [async () => ({ fullWanted: true })];
    reporter.offer(seen("inst-1", RUNNING));
    await until(() => sent.length === 3);
    expect(sent.map(({ full }) => full)).toEqual([true, false, true]);
    reporter.wantFull();
    await until(() => sent.length >= 4);
    await until(() => sent.length >= 5);
    expect(sent.slice(3).every(({ full }) => full)).toBe(true);
  });

  it("does not send one full report after the other to a control plane that wants nothing else", async () => {
    answers = Array.from({ length: 10 }, () => async () => ({ fullWanted: true }));
    await opened();
    await delay(60);
    expect(sent).toHaveLength(1);
  });

  it("tells once what was removed, and again when the control plane has lost it", async () => {
    tombstones = [{ instanceId: "inst-9", nodeId: NODE, generation: 1, revision: 2, deletedAt: 0 }];
    await opened();
    reporter.wantFull();
    await until(() => sent.length === 2);
    answers = [async () => ({ fullWanted: true })];
    reporter.offer(seen("inst-1", RUNNING));
    await until(() => sent.length === 4);
    const deleted = ["all RUNNING", "inst-9 DELETED"];
    expect(sent.map(told)).toEqual([deleted, ["all RUNNING"], ["inst-1 RUNNING"], deleted]);
  });
});
