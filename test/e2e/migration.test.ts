import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeFleet } from "../support/compute-fleet.ts";
import type { FleetHost } from "../support/fleet-host.ts";
import { type AskFleet, BUSY_GUEST, beginMove, problemsOf, readTask } from "../support/moving-guest.ts";
import { describeWithPeers } from "../support/peers.ts";
import { until } from "../support/until.ts";

const CHECK = `query ($id: ID!, $target: ID) { checkMigration(instanceId: $id, targetNodeId: $target) {
  possible copiesDisks bytesToCopy checks { name passed message } } }`;
const CONSOLE = "mutation ($input: OpenConsoleInput!) { openConsole(input: $input) { session { id } } }";
const OUTPUT = "subscription ($id: ID!) { consoleOutput(sessionId: $id) { data message session { ended } } }";

describeWithPeers("live migration between two hosts", ["network-namespaces", "libvirt", "tiny-guest"], () => {
  let fleet: ComputeFleet;
  let [a, b]: FleetHost[] = [];
  let id: string;
  const ask: AskFleet = (query, variables) => fleet.ask(query, variables);

  beforeAll(async () => {
    fleet = await ComputeFleet.start({ hosts: [{ containers: false }, { containers: false }] });
    [a, b] = fleet.hosts;
    await a!.host.namespace.connect(b!.host.namespace);
    id = (await fleet.change("createInstance", { name: "moves", ...BUSY_GUEST, preferredNodeId: a!.nodeId })).id;
    await fleet.untilState(id, "RUNNING");
  }, 180_000);

  afterAll(() => fleet?.stop());

  async function expectWhole(): Promise<void> {
    let problems: string[] = [];
    await until(async () => {
      problems = await problemsOf(ask, fleet.hosts, id);
      return problems.length === 0;
    }, "one copy to run").catch((error: Error) => {
      throw new Error(`${error.message}\n${problems.join("\n")}`);
    });
  }

  async function move(target: FleetHost): Promise<void> {
    await until(
      async () => (await fleet.query(CHECK, { id, target: target.nodeId })).checkMigration.possible,
      "the move to be possible",
      60_000,
    );
    const { taskId, error } = await beginMove(ask, id, target.nodeId);
    expect(error).toBeNull();
    await expect
      .poll(async () => (await readTask(ask, taskId ?? ""))?.state, { timeout: 240_000, interval: 200 })
      .toMatch(/SUCCEEDED|FAILED/);
    expect(await readTask(ask, taskId ?? "")).toMatchObject({ state: "SUCCEEDED", error: null });
  }

  async function placedOn(): Promise<string> {
    return (await fleet.query("query ($id: ID!) { instance(id: $id) { node { id } } }", { id })).instance.node.id;
  }

  test("a busy guest goes there and back, its console is told, and no port is opened", async () => {
    const { checkMigration } = await fleet.query(CHECK, { id, target: b!.nodeId });
    expect(checkMigration.checks.filter(({ passed }: { passed: boolean }) => !passed)).toEqual([]);
    const { openConsole } = await fleet.query(CONSOLE, { input: { instanceId: id, columns: 80, rows: 24 } });
    const ends: Array<string | null> = [];
    const watching = (async () => {
      for await (const { consoleOutput } of fleet.stream(OUTPUT, { id: openConsole.session.id }))
        ends.push(consoleOutput.session?.ended ?? null);
    })().catch((error: Error) => ends.push(error.message));
    await until(() => ends.length > 0, "the console's first frame", 30_000);
    await move(b!);
    expect(await placedOn()).toBe(b!.nodeId);
    await expectWhole();
    await watching;
    expect(ends.at(-1)).toBe("MIGRATED");
    await move(a!);
    expect(await placedOn()).toBe(a!.nodeId);
    await expectWhole();
  }, 600_000);
});
