import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { TaskConfig } from "../../../subgraphs/compute/config.ts";
import { Instance } from "../../../subgraphs/compute/entities/instance.ts";
import { Task } from "../../../subgraphs/compute/entities/task.ts";
import { finishDeletion } from "../../../subgraphs/compute/services/instance-requests.ts";
import { newInstance } from "../../../subgraphs/compute/services/new-instance.ts";
import { checkSpec } from "../../../subgraphs/compute/services/spec-input.ts";
import { dropEndedTasks } from "../../../subgraphs/compute/services/tasks/task-retention.ts";
import type { TaskHandler, TaskRun, TaskView } from "../../../subgraphs/compute/services/tasks/task-types.ts";
import { COMPUTE_VARIANTS } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import { type TaskReplica, TaskReplicas } from "../../support/task-replicas.ts";
import { until } from "../../support/until.ts";

type Work = (run: TaskRun) => Promise<void>;

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`tasks, on ${variant.name}`, variant.peers, () => {
    let replicas: TaskReplicas;
    const started: TaskReplica[] = [];

    beforeAll(async () => {
      replicas = await TaskReplicas.open(variant.name);
    });
    // What one test leaves is not run by the next.
    afterEach(async () => {
      await Promise.all(started.splice(0).map((replica) => replica.stop()));
    });
    afterAll(() => replicas?.[Symbol.asyncDispose]());

    async function start(run: Work, more: Partial<TaskHandler> = {}, config: Partial<TaskConfig> = {}): Promise<TaskReplica> {
      const replica = await replicas.start([{ kind: "IMAGE_PULL", concurrent: 4, deadlineMs: 600_000, run, ...more }], config);
      started.push(replica);
      return replica;
    }
    const untilAborted = (run: TaskRun) =>
      new Promise<void>((_, reject) => {
        if (run.signal.aborted) reject(run.signal.reason);
        run.signal.addEventListener("abort", () => reject(run.signal.reason));
      });
    async function addInstance({ writer }: TaskReplica): Promise<string> {
      const { spec, secrets } = checkSpec({ image: "debian", cpuCores: 1, memoryBytes: 2 ** 30 }, "VM");
      const creation = {
        name: "worked-on",
        type: "VM" as const,
        spec,
        secrets,
        labels: {},
        annotations: {},
        preferredNodeId: null,
        region: null,
        zone: null,
        nodeLabels: {},
        antiAffinityLabel: null,
        strategy: null,
        stopped: false,
        clientRequestId: null,
      };
      const view = await writer.transaction(async (instances) => instances.create(newInstance(instances.em, creation, "node-1")));
      return view.id;
    }

    test("a task runs once, changes what it changes with its success, and its events tell all of it", async () => {
      let instanceId = "";
      let runs = 0;
      const replica = await start(async (run) => {
        runs += 1;
        await run.save({ step: 1 }, { currentBytes: 5 });
        await run.succeed(async (instances) => {
          const instance = await instances.lockOne(instanceId);
          await finishDeletion(instances, instance as Instance, "TASK");
        });
      });
      instanceId = await addInstance(replica);
      const events: TaskView[] = [];
      const watch = replica.queries.watch(replica.ctx, { filter: { instanceId }, snapshot: true, bookmarks: true });
      await watch.next();
      const task = await replica.add({ instanceId, nodeId: "node-1", input: { image: "debian" } });
      expect(task).toMatchObject({ state: "QUEUED", startedAt: null, createdBy: "test", input: { image: "debian" } });
      while (events.at(-1)?.finishedAt == null) {
        const { value } = await watch.next();
        if (value.object !== null) events.push(value.object);
      }
      expect(events.map(({ state, currentBytes }) => [state, currentBytes])).toEqual([
        ["QUEUED", null],
        ["RUNNING", null],
        ["RUNNING", 5],
        ["SUCCEEDED", 5],
      ]);
      expect(events.at(-1)).toEqual(await replica.see(task.id));
      expect(await replica.store.read((em) => em.findOneOrFail(Instance, { id: instanceId }))).toMatchObject({ stateReason: "TASK" });
      expect(runs).toBe(1);
      await watch.return?.();
    });

    test("what a failing success would have changed is not changed, and the task fails with its reason", async () => {
      let instanceId = "";
      const replica = await start((run) =>
        run.succeed(async (instances) => {
          await finishDeletion(instances, (await instances.lockOne(instanceId)) as Instance, "TASK");
          throw new FleetError("FAILED_PRECONDITION", "Not like this.", { reason: "NotLikeThis" });
        }),
      );
      instanceId = await addInstance(replica);
      const { id } = await replica.add({ instanceId });
      expect(await replica.untilState(id, "FAILED")).toMatchObject({
        errorCode: "FAILED_PRECONDITION",
        errorReason: "NotLikeThis",
        errorMessage: "Not like this.",
      });
      expect(await replica.store.read((em) => em.findOneOrFail(Instance, { id: instanceId }))).toMatchObject({ state: "CREATING" });
    });

    test("a replica is killed in the middle: another goes on from the checkpoint, and what the first still does counts nothing", async () => {
      const resume = Promise.withResolvers<void>();
      const writes: unknown[] = [];
      const work: Work = async (run) => {
        await run.save({ step: 1 }, { status: "half done" });
        await resume.promise;
        writes.push(await run.save({ step: 2 }).catch((error: unknown) => error));
        writes.push(await run.succeed().catch((error: unknown) => error));
      };
      const first = await start(work, {}, { leaseMs: 1_000 });
      const { id } = await first.add({});
      await until(async () => (await first.see(id)).status === "half done", "the checkpoint");
      // It neither renews its claim nor gives it back; its process hangs rather than ends.
      const killed = first.kill();
      const seen: unknown[] = [];
      const second = await start(async (run) => {
        seen.push(run.checkpoint);
      });
      expect(await second.untilState(id, "SUCCEEDED")).toMatchObject({ status: null });
      expect(seen).toEqual([{ step: 1 }]);
      resume.resolve();
      await killed;
      expect(writes).toHaveLength(2);
      for (const error of writes) expect(error).toBeInstanceOf(Error);
    });

    test("a replica that hung and woke up after its claim was taken can write no more", async () => {
      const paused = Promise.withResolvers<void>();
      const outcome = Promise.withResolvers<unknown>();
      const first = await start(async (run) => {
        await run.save({ step: 1 }, { status: "paused" });
        await paused.promise;
        outcome.resolve(await run.succeed().catch((error: unknown) => error));
      });
      const { id } = await first.add({});
      await until(async () => (await first.see(id)).status === "paused", "the first run");
      // As another replica does it when the lease is over.
      await first.store.transaction(async ({ em }) => {
        await em.nativeUpdate(Task, { id }, { owner: "another", claim: 2, leaseUntil: Number.MAX_SAFE_INTEGER });
      });
      paused.resolve();
      expect(await outcome.promise).toMatchObject({ code: "CANCELLED", reason: "TaskClaimLost" });
      expect(await first.see(id)).toMatchObject({ state: "RUNNING", finishedAt: null });
      await first.store.transaction(async ({ em }) => {
        await em.nativeDelete(Task, { id });
      });
    });

    test("a run is told by the next renewal that another replica has its task", async () => {
      const replica = await start(async (run) => {
        run.tell({ status: "working" });
        await untilAborted(run);
      });
      const { id } = await replica.add({});
      await until(async () => (await replica.see(id)).status === "working", "the run");
      await replica.store.transaction(async ({ em }) => {
        await em.nativeUpdate(Task, { id }, { owner: "another", claim: 7, leaseUntil: 0 });
      });
      // It ends, and the same replica, which has the only handler, takes it anew.
      await until(async () => (await replica.store.read((em) => em.findOneOrFail(Task, { id }))).claim === 8, "the next claim");
      await replica.requests.cancel(replica.ctx, id);
      await replica.untilState(id, "CANCELLED");
    });

    test("a replica that stops gives its tasks to the others at once", async () => {
      const first = await start(async (run) => {
        await run.save({ step: 1 }, { status: "begun" });
        await untilAborted(run);
      });
      const { id } = await first.add({});
      await until(async () => (await first.see(id)).status === "begun", "the run");
      await first.stop();
      const second = await start(async (run) => {
        expect(run.checkpoint).toEqual({ step: 1 });
      });
      const { leaseUntil } = await second.store.read((em) => em.findOneOrFail(Task, { id }));
      expect(leaseUntil === 0 || (await second.see(id)).state === "SUCCEEDED").toBe(true);
      expect(await second.untilState(id, "SUCCEEDED")).toMatchObject({ errorCode: null });
    });

    test("cancelled from another replica, where it runs", async () => {
      const undone: boolean[] = [];
      const first = await start(async (run) => {
        run.tell({ status: "running" });
        await untilAborted(run).catch(() => undefined);
        undone.push(run.cancelled, run.undoCtx.signal.aborted);
        run.signal.throwIfAborted();
      });
      const { id } = await first.add({});
      await until(async () => (await first.see(id)).status === "running", "the run");
      const second = await start(async () => undefined);
      expect(await second.requests.cancel(second.ctx, id)).toMatchObject({ state: "RUNNING", cancelRequested: true });
      expect(await second.untilState(id, "CANCELLED")).toMatchObject({ errorCode: "CANCELLED", errorReason: "TaskCancelled" });
      expect(undone).toEqual([true, false]);
      // Asked for again, it stays what it is.
      expect(await second.requests.cancel(second.ctx, id)).toMatchObject({ state: "CANCELLED" });
    });

    test("cancelled before it began it never runs; ended otherwise it cannot be cancelled; who may not is refused", async () => {
      let runs = 0;
      const replica = await start(async () => {
        runs += 1;
      });
      // Nobody here has a handler for it.
      const waiting = await replica.add({ kind: "MIGRATION" });
      expect(await replica.requests.cancel(replica.ctx, waiting.id)).toMatchObject({ state: "CANCELLED", startedAt: null });
      const done = await replica.add({});
      await replica.untilState(done.id, "SUCCEEDED");
      await expect(replica.requests.cancel(replica.ctx, done.id)).rejects.toMatchObject({
        code: "FAILED_PRECONDITION",
        reason: "TaskEnded",
        details: { state: "SUCCEEDED" },
      });
      await expect(replica.requests.cancel(replica.ctx, "task-none")).rejects.toMatchObject({ code: "NOT_FOUND" });
      const viewer = { ...replica.ctx, identity: { kind: "user", subject: "v", role: "viewer", expiresAt: 0 } as const };
      await expect(replica.requests.cancel(viewer, done.id)).rejects.toMatchObject({ code: "FORBIDDEN" });
      expect(runs).toBe(1);
    });

    test("what has gone too far is not cancelled any more", async () => {
      const [saved, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
      const replica = await start(
        async (run) => {
          await run.save({ decided: true });
          saved.resolve();
          await gate.promise;
          if (run.cancelled) throw run.signal.reason;
        },
        { isDecided: ({ decided }) => decided === true },
      );
      const { id } = await replica.add({});
      await saved.promise;
      await expect(replica.requests.cancel(replica.ctx, id)).rejects.toMatchObject({ reason: "TooLateToCancel", details: { taskId: id } });
      gate.resolve();
      expect(await replica.untilState(id, "SUCCEEDED")).toMatchObject({ cancelRequested: false });
    });

    test("cancelled between two tries, it runs once more to undo, and knows why", async () => {
      const runs: Array<{ cancelled: boolean; aborted: boolean }> = [];
      const replica = await replicas.start(
        [
          {
            kind: "IMAGE_PULL",
            concurrent: 1,
            deadlineMs: 600_000,
            run: async (run) => {
              runs.push({ cancelled: run.cancelled, aborted: run.signal.aborted });
              run.signal.throwIfAborted();
              throw new FleetError("UNAVAILABLE", "The node's agent cannot be reached.", { reason: "AgentUnreachable" });
            },
          },
        ],
        { firstPauseMs: 3_600_000, longestPauseMs: 3_600_000 },
      );
      started.push(replica);
      const { id } = await replica.add({});
      await until(async () => (await replica.see(id)).status === "waiting", "the first try");
      expect(await replica.see(id)).toMatchObject({ state: "RUNNING", errorReason: "AgentUnreachable" });
      await replica.requests.cancel(replica.ctx, id);
      await replica.untilState(id, "CANCELLED");
      expect(runs).toEqual([
        { cancelled: false, aborted: false },
        { cancelled: true, aborted: true },
      ]);
    });

    test("what is unavailable is tried again until it works; anything else is the end", async () => {
      let tries = 0;
      const replica = await start(async (run) => {
        tries += 1;
        if (run.task.input["hopeless"] === true) throw new Error("a bug");
        if (tries < 4) throw new FleetError(tries % 2 === 0 ? "UNAVAILABLE" : "DEADLINE_EXCEEDED", "not now");
      });
      const { id } = await replica.add({});
      expect(await replica.untilState(id, "SUCCEEDED")).toMatchObject({ errorCode: null, status: null });
      expect(tries).toBe(4);
      const broken = await replica.add({ input: { hopeless: true } });
      expect(await replica.untilState(broken.id, "FAILED")).toMatchObject({ errorCode: "INTERNAL" });
      expect(JSON.stringify(await replica.see(broken.id))).not.toContain("a bug");
      expect(tries).toBe(5);
    });

    test("one whose time is over fails, and undoes with what is left to it", async () => {
      const replica = await start(
        async (run) => {
          await untilAborted(run).catch(() => undefined);
          expect(run.undoCtx.signal.aborted).toBe(false);
          run.signal.throwIfAborted();
        },
        { deadlineMs: 50 },
      );
      const { id } = await replica.add({});
      expect(await replica.untilState(id, "FAILED")).toMatchObject({ errorCode: "DEADLINE_EXCEEDED", errorReason: "TaskDeadline" });
    });

    test("one that must undo is tried beyond its time until that has worked", async () => {
      let overdue = 0;
      const replica = await start(
        async (run) => {
          await untilAborted(run).catch(() => undefined);
          overdue += 1;
          if (overdue < 3) throw new FleetError("UNAVAILABLE", "the host does not answer");
          run.signal.throwIfAborted();
        },
        { deadlineMs: 50, mustUndo: true },
      );
      const { id } = await replica.add({});
      expect(await replica.untilState(id, "FAILED")).toMatchObject({ errorReason: "TaskDeadline" });
      expect(overdue).toBe(3);
    });

    test("two replicas that claim at once run each task once, and no more of a kind than it allows", async () => {
      const runs = new Map<string, number>();
      const inHand = [0, 0];
      const most = [0, 0];
      const work = (replica: number) => async (run: TaskRun) => {
        inHand[replica]! += 1;
        most[replica] = Math.max(most[replica]!, inHand[replica]!);
        runs.set(run.task.id, (runs.get(run.task.id) ?? 0) + 1);
        await run.save({ at: replica });
        inHand[replica]! -= 1;
      };
      const first = await start(work(0), { concurrent: 3 });
      await start(work(1), { concurrent: 3 });
      const tasks = await Promise.all(Array.from({ length: 40 }, (_, index) => first.add({ input: { index } })));
      for (const { id } of tasks) await first.untilState(id, "SUCCEEDED");
      expect([...runs.values()]).toEqual(tasks.map(() => 1));
      for (const count of most) expect(count).toBeLessThanOrEqual(3);
    });

    test("an instance has one exclusive task at a time, whoever asks, and a request is carried out once", async () => {
      const release = Promise.withResolvers<void>();
      const first = await start(() => release.promise);
      const second = await start(() => release.promise);
      const instanceId = await addInstance(first);
      const asked = await Promise.allSettled(
        Array.from({ length: 8 }, (_, index) => (index % 2 === 0 ? first : second).add({ instanceId, nodeId: "node-1" })),
      );
      const [made, ...others] = asked.filter(({ status }) => status === "fulfilled");
      expect(others).toEqual([]);
      const { id, kind } = (made as PromiseFulfilledResult<TaskView>).value;
      for (const refused of asked.filter(({ status }) => status === "rejected")) {
        expect((refused as PromiseRejectedResult).reason).toMatchObject({
          code: "CONFLICT",
          reason: "TaskUnderWay",
          details: { taskId: id, kind },
        });
      }
      // One that is not exclusive is no obstacle, nor is another instance's.
      await first.add({ instanceId, exclusive: false });
      await first.add({ instanceId: await addInstance(first) });
      release.resolve();
      await first.untilState(id, "SUCCEEDED");

      const repeated = await Promise.all(
        Array.from({ length: 6 }, (_, index) => (index % 2 === 0 ? first : second).add({ instanceId, clientRequestId: "once" })),
      );
      expect(new Set(repeated.map((task) => task.id)).size).toBe(1);
      await first.untilState(repeated[0]!.id, "SUCCEEDED");
      expect(await second.add({ instanceId, clientRequestId: "once" })).toMatchObject({ id: repeated[0]!.id, state: "SUCCEEDED" });
      await expect(first.add({ clientRequestId: "once" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    });

    test("ended tasks go when they were kept for long enough, or are too many; open ones stay", async () => {
      const replica = await start(async () => undefined);
      const open = await replica.add({ kind: "MIGRATION", groupId: "kept" });
      const ended = [await replica.add({ groupId: "kept" }), await replica.add({ groupId: "kept" })];
      for (const { id } of ended) await replica.untilState(id, "SUCCEEDED");
      const listed = async () => (await replica.queries.list(replica.ctx, { groupId: "kept" }, {})).nodes.map(({ id }) => id);
      await dropEndedTasks(replica.ctx, replica.writer, 3_600_000);
      expect(new Set(await listed())).toEqual(new Set([open.id, ...ended.map(({ id }) => id)]));
      const watch = replica.queries.watch(replica.ctx, { filter: { ids: ended.map(({ id }) => id) }, bookmarks: true });
      await watch.next();
      await dropEndedTasks(replica.ctx, replica.writer, 3_600_000, 1);
      expect(await listed()).toHaveLength(2);
      await dropEndedTasks(replica.ctx, replica.writer, -60_000);
      expect(await listed()).toEqual([open.id]);
      const gone = [(await watch.next()).value, (await watch.next()).value];
      expect(gone.map(({ type }) => type)).toEqual(["DELETED", "DELETED"]);
      await watch.return?.();
      await replica.requests.cancel(replica.ctx, open.id);
    });
  });
}
