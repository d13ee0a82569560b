import { describe, expect, test } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { judgeRun, pauseMs, type RunState } from "../../../../subgraphs/compute/services/tasks/task-outcome.ts";

const RUNNING: RunState = { ended: false, lost: false, abandoned: false, cancelled: false, overdue: false };
const unavailable = new FleetError("UNAVAILABLE", "The host is away.", { reason: "NodeOffline" });
const refused = new FleetError("FAILED_PRECONDITION", "No.", { reason: "DeviceBusy" });

describe("what becomes of a task after a run", () => {
  const cases: Array<[string, Partial<RunState>, unknown, boolean, string, string | undefined]> = [
    ["stored already, whatever is thrown afterwards", { ended: true }, refused, false, "SUCCEEDED", undefined],
    ["another run goes on", { lost: true, abandoned: true }, refused, false, "lost", undefined],
    ["this replica stops", { abandoned: true }, unavailable, false, "released", undefined],
    ["passes by itself", {}, unavailable, false, "postponed", "NodeOffline"],
    ["others wrote the same", {}, new FleetError("CONFLICT", "", { reason: "WriteConflict" }), false, "postponed", "WriteConflict"],
    ["another conflict", {}, new FleetError("CONFLICT", "", { reason: "Taken" }), false, "FAILED", "Taken"],
    ["does not pass", {}, refused, false, "FAILED", "DeviceBusy"],
    ["cancelled", { cancelled: true }, refused, false, "CANCELLED", "TaskCancelled"],
    ["cancelled, and could not be undone", { cancelled: true }, unavailable, false, "postponed", "NodeOffline"],
    ["its time is over", { overdue: true }, unavailable, false, "FAILED", "TaskDeadline"],
    ["its time is over, and it must be undone", { overdue: true }, unavailable, true, "postponed", "NodeOffline"],
    [
      "its time is over, and it was undone",
      { overdue: true },
      new FleetError("DEADLINE_EXCEEDED", "", { reason: "TaskDeadline" }),
      true,
      "FAILED",
      "TaskDeadline",
    ],
  ];
  test.each(cases)("%s", (_, state, failure, mustUndo, outcome, reason) => {
    const verdict = judgeRun({ ...RUNNING, ...state }, failure, mustUndo);
    expect(verdict.outcome).toBe(outcome);
    expect(verdict.error?.reason).toBe(reason);
  });

  test("why the last try failed is told with the end of its time; a bug is not", () => {
    const late = judgeRun({ ...RUNNING, overdue: true }, unavailable, false);
    expect(late.error?.message).toContain("The host is away.");
    const bug = judgeRun(RUNNING, new TypeError("x is undefined"), false);
    expect(bug.error).toMatchObject({ code: "INTERNAL" });
    expect(bug.error?.message).not.toContain("undefined");
  });
});

test("pauses grow to the longest, and are whole numbers", () => {
  for (const [failures, least, most] of [
    [0, 500, 1_000],
    [3, 4_000, 8_000],
    [30, 15_000, 30_000],
    [1_000, 15_000, 30_000],
  ] as const) {
    const pause = pauseMs(failures, 1_000, 30_000);
    expect(Number.isInteger(pause)).toBe(true);
    expect(pause).toBeGreaterThanOrEqual(least);
    expect(pause).toBeLessThanOrEqual(most);
  }
});
