import { afterAll, beforeAll, expect, test } from "vitest";
import type { TaskHandler, TaskRun } from "../../../subgraphs/compute/services/tasks/task-types.ts";
import { COMPUTE_VARIANTS } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { TaskReplicas } from "../../support/task-replicas.ts";

/** Handlers do what their task's input names. */
type Work = (run: TaskRun) => Promise<void>;

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`tasks, on ${variant.name}`, variant.peers, () => {
    let replicas: TaskReplicas;
    const works = new Map<string, Work>();

    const handler: TaskHandler = {
      kind: "IMAGE_PULL",
      concurrent: 2,
      deadlineMs: 600_000,
      run: (run) => works.get(String(run.task.input["work"]))?.(run) ?? Promise.resolve(),
    };

    beforeAll(async () => {
      replicas = await TaskReplicas.open(variant.name);
    });
    afterAll(() => replicas?.[Symbol.asyncDispose]());

    test("a task runs and succeeds", async () => {
      const replica = await replicas.start([handler]);
      const task = await replica.add({ input: { work: "nothing" } });
      expect(task).toMatchObject({ state: "QUEUED" });
      expect(await replica.untilState(task.id, "SUCCEEDED")).toMatchObject({ errorCode: null });
      await replica.stop();
    });
  });
}
