import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { HostDrivers } from "../../../../agent/instances/host-drivers.ts";
import { InstanceStore } from "../../../../agent/instances/instance-store.ts";
import { InstanceKeeper } from "../../../../agent/instances/keeper.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { DesiredState, InstanceState } from "../../../../schema/generated/proto/hypervisor/v1/compute.ts";
import type { ApplyInstanceRequest, InstanceObservation } from "../../../../schema/generated/proto/hypervisor/v1/instances.ts";
import { CAMPAIGN } from "../../../support/in-campaigns.ts";
import { desiredInstance, NODE } from "../../../support/instance-samples.ts";
import { MemoryDriver, MemoryHost } from "../../../support/memory-driver.ts";
import { seededRandom, seedOfRun } from "../../../support/random.ts";
import { until } from "../../../support/until.ts";

const SEED = seedOfRun();
/** A fresh seed each time: runs add up. */
const SCENARIOS = CAMPAIGN ? 160 : 40;
const AT_ONCE = 40;
const log = createLogger({ name: "agent", level: "silent" });

type Request =
  | "start"
  | "stop"
  | "stop by force"
  | "restart"
  | "restart by force"
  | "suspend"
  | "resume"
  | "resize"
  | "delete"
  | "delete by force";

/** What a control plane lets be asked in a state that it shows; in the states between, only what it lets be asked then. */
const ALLOWED: Partial<Record<InstanceState, Request[]>> = {
  [InstanceState.CREATING]: ["delete", "delete by force"],
  [InstanceState.STARTING]: ["stop", "stop by force", "delete", "delete by force"],
  [InstanceState.RUNNING]: ["stop", "stop by force", "restart", "restart by force", "suspend", "delete", "delete by force"],
  [InstanceState.RESTARTING]: ["stop", "stop by force", "delete by force"],
  [InstanceState.STOPPING]: ["stop by force", "delete", "delete by force"],
  [InstanceState.STOPPED]: ["start", "resize", "delete", "delete by force"],
  [InstanceState.SUSPENDED]: ["resume", "stop", "delete"],
};
const SHOWN_AT_ONCE: Partial<Record<Request, InstanceState>> = {
  start: InstanceState.STARTING,
  stop: InstanceState.STOPPING,
  "stop by force": InstanceState.STOPPING,
  restart: InstanceState.RESTARTING,
  "restart by force": InstanceState.RESTARTING,
  delete: InstanceState.STOPPING,
  "delete by force": InstanceState.STOPPING,
};

/** When an agent dies: at its nth moment, or the nth time that it comes to a point. */
interface Death {
  at: number;
  /** Empty: any moment. */
  point: string;
}

const NEVER: Death = { at: Number.POSITIVE_INFINITY, point: "" };
const POINTS = [
  "create half",
  "create after",
  "start after",
  "start after",
  "requestStop after",
  "kill after",
  "suspend after",
  "resize after",
  "remove half",
  "remove after",
];

/** A life of the agent: from its death on nothing that it awaits comes back. */
class Life {
  readonly #death: Death;
  #left: number;
  readonly died = Promise.withResolvers<void>();

  constructor(death: Death) {
    this.#death = death;
    this.#left = death.at;
  }

  async pass(point: string): Promise<void> {
    if (this.#left > 0 && (this.#death.point === "" || this.#death.point === point)) this.#left -= 1;
    if (this.#left > 0) return;
    this.died.resolve();
    await new Promise(() => undefined);
  }

  end(): void {
    this.#left = 0;
  }
}

/** Writes that were begun. */
class Pending {
  readonly #open = new Set<Promise<void>>();

  add(write: Promise<void>): Promise<void> {
    this.#open.add(write);
    return write.finally(() => this.#open.delete(write));
  }

  async done(): Promise<void> {
    await Promise.allSettled(this.#open);
  }
}

/** One instance as a control plane knows it. */
class Row {
  desired: ApplyInstanceRequest;
  state = InstanceState.CREATING;
  settled = false;
  isTaken = false;
  /** Starts that were asked for. */
  starts: number;

  constructor(index: number, stopped: boolean) {
    this.desired = desiredInstance({
      instanceId: `inst-${index}`,
      desiredState: stopped ? DesiredState.STOPPED : DesiredState.RUNNING,
      stopTimeoutSeconds: 1,
    });
    this.starts = stopped ? 0 : 1;
  }

  ask(request: Request): void {
    const { desired } = this;
    const next = { ...desired, revision: desired.revision + 1, force: request.endsWith("force") };
    if (request === "start" || request === "resume") next.desiredState = DesiredState.RUNNING;
    else if (request.startsWith("stop")) next.desiredState = DesiredState.STOPPED;
    else if (request === "suspend") next.desiredState = DesiredState.SUSPENDED;
    else if (request.startsWith("delete")) next.desiredState = DesiredState.DELETED;
    else if (request === "resize") next.spec = { ...desired.spec!, cpuCores: desired.spec!.cpuCores + 1 };
    else next.restarts += 1;
    if (request === "start" || request.startsWith("restart")) this.starts += 1;
    this.desired = next;
    this.state = SHOWN_AT_ONCE[request] ?? this.state;
    this.settled = false;
    this.isTaken = false;
  }

  fold({ revision, generation, state, settled }: InstanceObservation): void {
    const isCurrent = generation === this.desired.generation && revision === this.desired.revision;
    const isDeleted = state === InstanceState.DELETED && this.desired.desiredState === DesiredState.DELETED;
    if (!isCurrent && !isDeleted) return;
    this.settled = settled;
    if (settled) this.state = state;
  }
}

/** A host, a control plane and one agent after the other. */
class World {
  readonly host = new MemoryHost();
  readonly rows: Row[] = [];
  readonly story: string[] = [];
  readonly #directory: string;
  readonly #random: () => number;
  #keeper: InstanceKeeper | null = null;
  #writes = new Pending();
  #life = new Life(NEVER);

  constructor(directory: string, random: () => number) {
    this.#directory = directory;
    this.#random = random;
  }

  draw<T>(list: readonly T[]): T {
    return list[Math.floor(this.#random() * list.length)] as T;
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  number(below: number): number {
    return Math.floor(this.#random() * below);
  }

  drawDeath(): Death {
    return this.chance(0.5) ? { at: 3 + this.number(50), point: "" } : { at: 1 + this.number(2), point: this.draw(POINTS) };
  }

  /** The next agent. */
  async nextLife(death: Death): Promise<void> {
    void this.#keeper?.stop();
    this.#life.end();
    // A dead process writes no more: what it had begun is at its end, one way or the other.
    await new Promise((resolve) => setImmediate(resolve));
    await this.#writes.done();
    const writes = new Pending();
    this.#writes = writes;
    const life = new Life(death);
    this.#life = life;
    const store = await InstanceStore.open({ directory: this.#directory, log });
    const mortal = new Proxy(store, {
      get(target, name) {
        if (name === "put") {
          return async (...stored: Parameters<InstanceStore["put"]>) => {
            await life.pass("put before");
            await writes.add(target.put(...stored));
            await life.pass("put after");
          };
        }
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    this.#keeper = new InstanceKeeper({
      nodeId: NODE,
      store: mortal,
      drivers: new HostDrivers([new MemoryDriver(this.host, (point) => life.pass(point))]),
      readBootId: async () => this.host.bootId,
      adoption: true,
      log,
      onObservation: (observation) => this.rows.find(({ desired }) => desired.instanceId === observation.instanceId)?.fold(observation),
      onFullWanted: () => undefined,
    });
    this.story.push(`an agent that dies at ${death.at} ${death.point}`);
    const keeper = this.#keeper;
    void keeper.start().then(() => {
      if (this.#keeper === keeper)
        for (const row of this.rows)
          for (const seen of keeper.observations(store.tombstones(100))) if (seen.instanceId === row.desired.instanceId) row.fold(seen);
    });
    for (const row of this.rows) this.tell(row);
  }

  /** Told again by every life until one has taken it. */
  tell(row: Row): void {
    const { desired } = row;
    if (row.isTaken || this.#keeper === null) return;
    this.#keeper.apply(desired).then(
      (revision) => {
        if (row.desired === desired && revision >= desired.revision) row.isTaken = true;
      },
      (error: unknown) => this.host.mistakes.push(`${desired.instanceId} was refused: ${String(error)}`),
    );
  }

  /** Null when it died. */
  async untilSettled(rows: readonly Row[]): Promise<true | null> {
    let isDead = false;
    const died = this.#life.died.promise.then(() => {
      isDead = true;
      return null;
    });
    const settled = until(() => isDead || rows.every((row) => row.settled), `[${this.story.join("; ")}]`, 20_000);
    return Promise.race([died, settled.then(() => (isDead ? null : true))]);
  }

  async end(): Promise<void> {
    await this.#keeper?.stop();
  }
}

async function play(seed: number): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "fleetgraph-crash-"));
  const world = new World(directory, seededRandom(seed));
  const { host, rows } = world;
  try {
    await world.nextLife(world.drawDeath());
    const boots = world.chance(0.2) ? 1 + world.number(2) : 0;
    for (let turn = 0; turn < 8; turn += 1) {
      const asked = rows.length === 0 || world.chance(0.2) ? addRow(world) : askSomething(world);
      if (asked) world.tell(asked);
      const outcome = world.chance(0.6)
        ? await world.untilSettled(rows)
        : await Promise.race([world.untilSettled([]), new Promise((resolve) => setTimeout(resolve, world.number(8)))]);
      if (outcome === null) {
        if (turn < boots) {
          world.story.push("the host boots");
          host.reboot();
        }
        await world.nextLife(world.drawDeath());
      }
    }
    await world.nextLife(NEVER);
    await world.untilSettled(rows);
    for (const row of rows) check(world, row, boots);
    expect(host.mistakes).toEqual([]);
    const kept = rows.filter(({ desired }) => desired.desiredState !== DesiredState.DELETED).map(({ desired }) => desired.instanceId);
    expect([...host.natives.values()].map(({ mark }) => mark?.instanceId).sort()).toEqual(kept.sort());
    expect([...host.disks].sort()).toEqual(kept);
  } catch (error) {
    throw new Error(`SEED=${seed}: ${world.story.join("; ")}`, { cause: error });
  } finally {
    await world.end();
    await rm(directory, { recursive: true, force: true });
  }
}

function addRow(world: World): Row {
  const row = new Row(world.rows.length, world.chance(0.2));
  if (world.chance(0.1)) world.host.deaf.add(row.desired.instanceId);
  world.rows.push(row);
  world.story.push(`${row.desired.instanceId}: ${row.desired.desiredState}`);
  return row;
}

function askSomething(world: World): Row | null {
  const row = world.draw(world.rows);
  const allowed = row.desired.desiredState === DesiredState.DELETED ? [] : (ALLOWED[row.state] ?? []);
  if (allowed.length === 0) return null;
  const restarts = allowed.filter((request) => request.startsWith("restart"));
  const others = allowed.filter((request) => !request.startsWith("delete"));
  const choice = [restarts, others].find((list) => list.length > 0 && world.chance(0.5)) ?? allowed;
  const request = world.draw(choice);
  world.story.push(`${row.desired.instanceId}: ${request} while ${row.state}`);
  row.ask(request);
  return row;
}

const NATIVE: Partial<Record<DesiredState, string>> = {
  [DesiredState.RUNNING]: "RUNNING",
  [DesiredState.STOPPED]: "STOPPED",
  [DesiredState.SUSPENDED]: "PAUSED",
};

function check({ host }: World, { desired, state, starts }: Row, boots: number): void {
  const { instanceId, desiredState, spec } = desired;
  const native = host.of(instanceId);
  if (desiredState === DesiredState.DELETED) {
    expect(native).toBeUndefined();
    expect(state).toBe(InstanceState.DELETED);
    return;
  }
  // A guest that was suspended when the host went down is lost.
  const isLost = boots > 0 && desiredState === DesiredState.SUSPENDED && native?.state === "STOPPED";
  if (!isLost) expect(native?.state).toBe(NATIVE[desiredState]);
  if (desiredState === DesiredState.STOPPED) expect(native?.cpuCores).toBe(spec?.cpuCores);
  expect(host.starts.get(instanceId) ?? 0).toBeLessThanOrEqual(starts + 2 * boots);
}

describe(`an agent that is killed at any moment (SEED=${SEED})`, () => {
  it("has every instance as it was asked for in the end, nothing else, and started none too often", { timeout: 120_000 }, async () => {
    for (let first = 0; first < SCENARIOS; first += AT_ONCE) {
      await Promise.all(Array.from({ length: AT_ONCE }, (_, index) => play(SEED + first + index)));
    }
  });
});
