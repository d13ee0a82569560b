import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { MigrationCheckpoint } from "../../../../subgraphs/compute/services/migrations/migration-types.ts";
import { type AgentCall, type Ended, MigrationLab } from "../../../support/migration-lab.ts";

let lab: MigrationLab;
let nodes = 0;

beforeAll(async () => {
  lab = await MigrationLab.open();
});
afterAll(() => lab?.close());
afterEach(() => {
  lab.meddle = null;
  lab.onSave = () => undefined;
  lab.world.onCopy = async () => undefined;
  lab.world.violations.length = 0;
  lab.gone.clear();
});

interface Move {
  id: string;
  source: string;
  target: string;
}

/** Nodes of its own, so that each case has its own reservations. */
async function moving(): Promise<Move> {
  nodes += 1;
  const [source, target] = [`node-${nodes}-a`, `node-${nodes}-b`];
  return { id: await lab.running(source), source, target };
}

async function migrate({ id, source, target }: Move): Promise<Ended> {
  return lab.work(await lab.migration(id, source, target));
}

/** One copy runs, on the node that the database names, with its number; what is reserved is the sum; no task holds anything. */
async function expectWhole({ id, source, target }: Move, { state }: Pick<Ended, "state">): Promise<void> {
  expect(lab.world.violations).toEqual([]);
  const instance = await lab.see(id);
  const moved = state === "SUCCEEDED";
  expect(instance).toMatchObject({ nodeId: moved ? target : source, generation: moved ? 2 : 1, activity: null, state: "RUNNING" });
  expect(lab.world.of(id)).toEqual([
    { nodeId: instance.nodeId, instanceId: id, generation: instance.generation, state: "RUNNING", complete: true },
  ]);
  expect(await lab.loose()).toEqual([]);
}

const STEPS = [
  "describeSource",
  "checkDestination",
  "beginSource",
  "prepareDestination",
  "performSource",
  "finishDestination",
  "confirmSource",
  "inspectMigration",
] as const;

/** What may happen to a call; null: it is carried out as ever. */
const MISHAPS: Record<string, (call: AgentCall, count: number) => Promise<unknown> | null> = {
  "its answer is lost": (call, count) =>
    count > 1
      ? null
      : call.answer().then(() => {
          throw new FleetError("UNAVAILABLE", "The agent cannot be reached.");
        }),
  "the agent says no": (_call, count) => (count > 1 ? null : Promise.reject(new FleetError("FAILED_PRECONDITION", "The host says no."))),
  "the agent fails": (_call, count) => (count > 1 ? null : Promise.reject(new FleetError("INTERNAL", "Internal error."))),
  "the agent is away for a while": (_call, count) =>
    count > 3 ? null : Promise.reject(new FleetError("UNAVAILABLE", "The agent cannot be reached.")),
  "the agent was killed": (call, count) => {
    if (count > 1) return null;
    lab.world.killAgent(call.nodeId);
    return Promise.reject(new FleetError("UNAVAILABLE", "The agent cannot be reached."));
  },
  "the agent was killed after it": (call, count) =>
    count > 1
      ? null
      : call.answer().then(() => {
          lab.world.killAgent(call.nodeId);
          throw new FleetError("UNAVAILABLE", "The agent cannot be reached.");
        }),
  "the control plane was killed before its answer": (call, count) => (count > 1 ? null : call.answer().then(() => lab.crash())),
};

/** From the call on that this is about; those of an agent that is away are all of its calls. */
function meddle(method: string, mishap: string, where: () => boolean = () => true): void {
  let count = 0;
  let awayNode: string | null = null;
  lab.meddle = async (call) => {
    if ((call.method === method && where()) || call.nodeId === awayNode) {
      count += 1;
      if (mishap.includes("away")) awayNode = call.nodeId;
      const done = MISHAPS[mishap]!(call, count);
      if (done !== null) return done;
    }
    return call.answer();
  };
}

test("a guest moves, and moves back", async () => {
  const move = await moving();
  const ended = await migrate(move);
  expect(ended).toMatchObject({ state: "SUCCEEDED", runs: 1 });
  await expectWhole(move, ended);
  // What the source left is gone, as the report of its agent tells.
  await lab.store.transaction(({ em }) => em.execute("delete from former_placement"));
  await lab.store.transaction(({ em }) => em.execute("update task set finished_at = ? where finished_at is null", [new Date()]));
  await lab.change(move.id, { appliedRevision: 2 });
  const { id, source, target } = move;
  expect(await migrate({ id, source: target, target: source })).toMatchObject({ state: "SUCCEEDED" });
  expect(await lab.see(id)).toMatchObject({ nodeId: source, generation: 3 });
  expect(lab.world.of(id)).toMatchObject([{ nodeId: source, generation: 3, state: "RUNNING" }]);
});

describe("whatever happens to one call, one copy runs", () => {
  for (const method of STEPS) {
    test.each(Object.keys(MISHAPS))(`${method}: %s`, async (mishap) => {
      const move = await moving();
      meddle(method, mishap);
      await expectWhole(move, await migrate(move));
    });
  }
});

describe("whatever happens on the way back, one copy runs", () => {
  for (const method of ["finishDestination", "confirmSource", "inspectMigration"]) {
    test.each(Object.keys(MISHAPS))(`${method}: %s`, async (mishap) => {
      const move = await moving();
      let undoing = false;
      lab.onSave = (moment, step) => {
        if (moment === "after" && step === "UNDOING") undoing = true;
      };
      meddle(method, mishap, () => undoing);
      lab.world.onCopy = async () => {
        throw new FleetError("CONFLICT", "The connection was lost.");
      };
      const ended = await migrate(move);
      expect(ended).toMatchObject({ state: "FAILED", error: { code: "CONFLICT" } });
      await expectWhole(move, ended);
    });
  }
});

describe("wherever the control plane is killed, one copy runs, and the task ends", () => {
  const moments = (["RESERVED", "PREPARING", "PERFORMING", "FINISHING", "COMMITTED"] as const).flatMap((step) =>
    (["before", "after"] as const).map((moment) => ({ moment, step })),
  );

  function killAt(moment: "before" | "after", step: MigrationCheckpoint["step"]): void {
    let killed = false;
    lab.onSave = (now, saved) => {
      if (killed || now !== moment || saved !== step) return;
      killed = true;
      lab.crash();
    };
  }

  test.each(moments)("$moment the checkpoint $step", async ({ moment, step }) => {
    const move = await moving();
    killAt(moment, step);
    const ended = await migrate(move);
    // The agents remember what was done: nothing of it is lost.
    expect(ended).toMatchObject({ state: "SUCCEEDED", runs: 2 });
    await expectWhole(move, ended);
  });

  test.each(moments)("$moment the checkpoint $step, together with both agents", async ({ moment, step }) => {
    const move = await moving();
    let killed = false;
    lab.onSave = (now, saved) => {
      if (killed || now !== moment || saved !== step) return;
      killed = true;
      lab.world.killAgent(move.source);
      lab.world.killAgent(move.target);
      lab.crash();
    };
    await expectWhole(move, await migrate(move));
  });

  test.each(["before", "after"] as const)("%s the checkpoint UNDOING", async (moment) => {
    const move = await moving();
    killAt(moment, "UNDOING");
    meddle("performSource", "the agent says no");
    await expectWhole(move, await migrate(move));
  });
});

describe("a cancellation", () => {
  test.each(STEPS.slice(0, 5))("at %s leads back to the source", async (method) => {
    const move = await moving();
    lab.meddle = async ({ answer, ...call }) => {
      if (call.method === method) lab.cancel();
      return answer();
    };
    const ended = await migrate(move);
    expect(ended.state).toBe("CANCELLED");
    await expectWhole(move, ended);
  });

  test("that comes when the target takes over is too late", async () => {
    const move = await moving();
    lab.meddle = async ({ answer, method }) => {
      if (method === "finishDestination") lab.cancel();
      return answer();
    };
    const ended = await migrate(move);
    expect(ended.state).toBe("SUCCEEDED");
    await expectWhole(move, ended);
  });
});

test("an instance that is to be deleted is not moved on: its source's agent is told once that is undone", async () => {
  const move = await moving();
  lab.meddle = async ({ answer, method }) => {
    if (method === "prepareDestination") await lab.change(move.id, { desiredState: "DELETED", state: "STOPPING", revision: 2 });
    return answer();
  };
  expect(await migrate(move)).toMatchObject({ state: "FAILED", error: { reason: "InstanceDeleted" } });
  expect(lab.world.of(move.id)).toMatchObject([{ nodeId: move.source, state: "RUNNING" }]);
  expect(await lab.see(move.id)).toMatchObject({ nodeId: move.source, desiredState: "DELETED", revision: 2, appliedRevision: 0 });
  expect(await lab.loose()).toEqual([]);
});

describe("a node that leaves the fleet", () => {
  test("as the target, before it was asked to run the guest, has what it may have removed later", async () => {
    const move = await moving();
    lab.world.onCopy = async () => {
      lab.gone.add(move.target);
      throw new FleetError("CONFLICT", "The connection was lost.");
    };
    const ended = await migrate(move);
    expect(ended.state).toBe("FAILED");
    expect(lab.world.at(move.source, move.id)).toMatchObject({ state: "RUNNING" });
    expect(await lab.loose()).toEqual([]);
    const rows = await lab.store.read((em) =>
      em.execute("select node_id, side, generation from former_placement where instance_id = ?", [move.id]),
    );
    expect(rows).toEqual([{ node_id: move.target, side: "TARGET", generation: 2 }]);
  });

  test("as the target, while it may run the guest, is waited for", async () => {
    const move = await moving();
    let asked = 0;
    lab.meddle = async ({ answer, method }) => {
      const answered = await answer();
      if (method === "finishDestination") asked += 1;
      if (method !== "finishDestination" || asked > 1) return answered;
      lab.gone.add(move.target);
      throw new FleetError("UNAVAILABLE", "The agent cannot be reached.");
    };
    let waited = 0;
    const ended = await lab.work(await lab.migration(move.id, move.source, move.target), (run) => {
      waited = run;
      if (run === 5) lab.gone.clear();
    });
    expect(waited).toBe(5);
    expect(ended.state).toBe("SUCCEEDED");
    await expectWhole(move, ended);
  });

  test("as the target, while it may run the guest, keeps nobody from deleting it", async () => {
    const move = await moving();
    lab.meddle = async ({ answer, method }) => {
      const answered = await answer();
      if (method === "finishDestination") lab.gone.add(move.target);
      if (method === "finishDestination") throw new FleetError("UNAVAILABLE", "The agent cannot be reached.");
      return answered;
    };
    const ended = await lab.work(await lab.migration(move.id, move.source, move.target), (run) =>
      run === 2 ? lab.change(move.id, { desiredState: "DELETED", state: "STOPPING", revision: 2 }) : undefined,
    );
    expect(ended).toMatchObject({ state: "FAILED", runs: 3 });
    expect(await lab.loose()).toEqual([]);
    // The target's goes when it is back; until then the source's, which its agent is told to remove, stands still.
    expect(lab.world.violations).toEqual([]);
    expect(lab.world.at(move.source, move.id)).toMatchObject({ state: "PAUSED" });
    expect(await lab.see(move.id)).toMatchObject({ nodeId: move.source, desiredState: "DELETED", appliedRevision: 0 });
  });

  test("as the source, keeps the instance, which its agent brings back when it is there again", async () => {
    const move = await moving();
    meddle("finishDestination", "the agent says no");
    const { meddle: saysNo } = lab;
    lab.meddle = async (call) => {
      if (call.method === "finishDestination") lab.gone.add(move.source);
      return saysNo!(call);
    };
    const ended = await migrate(move);
    expect(ended.state).toBe("FAILED");
    expect(await lab.see(move.id)).toMatchObject({ nodeId: move.source, generation: 1, revision: 2, appliedRevision: 0 });
    expect(lab.world.of(move.id)).toMatchObject([{ nodeId: move.source, state: "PAUSED" }]);
  });
});

describe("a restored database", () => {
  /** As it was when the checkpoint was stored, while the hosts have gone on without it. */
  async function restoredAt(step: MigrationCheckpoint["step"], after: (move: Move) => void): Promise<[Move, Ended]> {
    const move = await moving();
    let restored = false;
    lab.onSave = (moment, saved) => {
      if (restored || moment !== "after" || saved !== step) return;
      restored = true;
      after(move);
      lab.crash();
    };
    return [move, await migrate(move)];
  }

  test.each(["RESERVED", "PREPARING", "PERFORMING", "FINISHING"] as const)("at %s learns that the target runs the guest", async (step) => {
    const [move, ended] = await restoredAt(step, ({ id, source, target }) => {
      lab.world.remove(source, id);
      lab.world.remove(target, id);
      lab.world.place(target, id, 2);
    });
    expect(ended.state).toBe("SUCCEEDED");
    await expectWhole(move, ended);
  });

  test("keeps the only copy there is, though it was stopped since", async () => {
    const [move, ended] = await restoredAt("PERFORMING", ({ id, source, target }) => {
      lab.world.remove(source, id);
      Object.assign(lab.world.at(target, id)!, { state: "STOPPED", complete: true });
    });
    expect(ended.state).toBe("SUCCEEDED");
    expect(lab.world.of(move.id)).toMatchObject([{ nodeId: move.target, state: "STOPPED" }]);
    expect(await lab.see(move.id)).toMatchObject({ nodeId: move.target, generation: 2 });
  });
});

test("a target that lacks something is refused with each check, and nothing is taken there", async () => {
  const move = await moving();
  lab.world.checks.set(move.target, [
    { name: "CpuBaseline", passed: false, message: "Its CPU lacks avx512f." },
    { name: "Networks", passed: true, message: "" },
    { name: "Disks", passed: false, message: "It has no room." },
  ]);
  const ended = await migrate(move);
  expect(ended).toMatchObject({ state: "FAILED", error: { code: "FAILED_PRECONDITION", reason: "MigrationNotPossible" } });
  expect(ended.error?.message).toContain("avx512f");
  await expectWhole(move, ended);
});

test("an instance that was stopped meanwhile is left alone", async () => {
  const move = await moving();
  const task = await lab.migration(move.id, move.source, move.target);
  await lab.change(move.id, { state: "STOPPED", desiredState: "STOPPED" });
  expect(await lab.work(task)).toMatchObject({ state: "FAILED", error: { reason: "MigrationNotPossible" }, runs: 1 });
  expect(await lab.loose()).toEqual([]);
});
