import { expect, test } from "vitest";
import { checkTaskFilter, taskMatcher } from "../../../../subgraphs/compute/services/tasks/task-filter.ts";
import type { TaskView } from "../../../../subgraphs/compute/services/tasks/task-types.ts";

const TASK: TaskView = {
  id: "task-1",
  kind: "MIGRATION",
  state: "RUNNING",
  status: "memory",
  currentBytes: null,
  totalBytes: null,
  errorCode: null,
  errorReason: null,
  errorMessage: null,
  instanceId: "inst-1",
  nodeId: "node-1",
  groupId: null,
  input: {},
  cancelRequested: false,
  createdBy: "somebody",
  createdAt: "2026-01-01T00:00:00.000Z",
  startedAt: null,
  finishedAt: null,
};

test("each part of a filter narrows it, and what is null or empty does not", () => {
  const matches = (filter: Parameters<typeof checkTaskFilter>[0], task: Partial<TaskView> = {}) =>
    taskMatcher(checkTaskFilter(filter))?.({ ...TASK, ...task });
  expect(taskMatcher(checkTaskFilter(null))).toBeUndefined();
  expect(taskMatcher(checkTaskFilter({ ids: [], kind: null, instanceId: "", active: null }))).toBeUndefined();
  expect(matches({ kind: "MIGRATION", state: "RUNNING", instanceId: "inst-1", nodeId: "node-1", active: true, ids: ["task-1"] })).toBe(
    true,
  );
  for (const filter of [
    { ids: ["task-2"] },
    { kind: "IMAGE_PULL" },
    { state: "FAILED" },
    { instanceId: "inst-2" },
    { nodeId: "node-2" },
    { groupId: "g" },
  ]) {
    expect(matches(filter), JSON.stringify(filter)).toBe(false);
  }
  const ended = { finishedAt: "2026-01-01T00:00:01.000Z" };
  expect([
    matches({ active: true }),
    matches({ active: true }, ended),
    matches({ active: false }),
    matches({ active: false }, ended),
  ]).toEqual([true, false, false, true]);
});

test("what is no kind or state is refused", () => {
  expect(() => checkTaskFilter({ kind: "COFFEE" })).toThrow(
    expect.objectContaining({ code: "INVALID_ARGUMENT", details: expect.objectContaining({ field: "filter.kind" }) }),
  );
  expect(() => checkTaskFilter({ state: "DONE" })).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  expect(() => checkTaskFilter({ ids: Array.from({ length: 1_001 }, String) })).toThrow(
    expect.objectContaining({ code: "INVALID_ARGUMENT" }),
  );
});
