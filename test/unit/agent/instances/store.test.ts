import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InstanceStore } from "../../../../agent/instances/instance-store.ts";
import { firstProgress } from "../../../../agent/instances/progress.ts";
import type { InstanceRecord } from "../../../../agent/instances/take-desired.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { desiredInstance, INSTANCE, NODE } from "../../../support/instance-samples.ts";

const DAY_MS = 86_400_000;
const log = createLogger({ name: "agent", level: "silent" });
let directory: string;
let now: number;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "fleetgraph-store-"));
  now = Date.now();
});

afterEach(() => rm(directory, { recursive: true, force: true }));

function open(options: { maxTombstones?: number } = {}): Promise<InstanceStore> {
  return InstanceStore.open({ directory, log, now: () => now, ...options });
}

function record(instanceId = INSTANCE): InstanceRecord {
  const desired = desiredInstance({
    instanceId,
    metadata: { labels: { "app/name": "wëb" }, annotations: {} },
    restarts: 3,
    spec: {
      ...desiredInstance().spec!,
      env: { A: "1", __proto__x: "2" },
      cloudInit: { userData: "#cloud-config\n", sshAuthorizedKeys: ["ssh-ed25519 AAAA"] },
    },
  });
  const progress = {
    ...firstProgress(desired),
    starting: { before: 1, restarts: 2 },
    stopping: { askedAt: null, until: 5, timedOut: false },
  };
  return { desired, progress };
}

function tombstone(instanceId: string, deletedAt: number) {
  return { tombstone: { instanceId, nodeId: NODE, generation: 2, revision: 5, deletedAt } };
}

describe("the store of instances", () => {
  it("gives back what was put, to its owner only", async () => {
    const store = await open();
    await store.put(INSTANCE, { record: record() });
    await store.put("inst-2", tombstone("inst-2", now));
    const again = await open();
    expect(again.found).toHaveLength(2);
    expect(again.found).toContainEqual({ record: record() });
    expect(again.tombstone("inst-2")).toEqual(tombstone("inst-2", now).tombstone);
    expect((await stat(join(directory, `${INSTANCE}.json`))).mode & 0o777).toBe(0o600);
    expect((await stat(directory)).mode & 0o777).toBe(0o700);
  });

  it("has a session number that grows with each opening, also when the clock went back or the directory was lost", async () => {
    const first = (await open()).session;
    expect(first).toBe(Math.floor(now / 1000));
    now -= DAY_MS;
    expect((await open()).session).toBe(first + 1);
    await rm(directory, { recursive: true });
    now += 2 * DAY_MS;
    expect((await open()).session).toBeGreaterThan(first + 1);
  });

  it("puts damaged files aside, and removes what a killed process left half written", async () => {
    const store = await open();
    await store.put(INSTANCE, { record: record() });
    await store.put("inst-2", { record: record("inst-2") });
    const text = await readFile(join(directory, `${INSTANCE}.json`), "utf8");
    await writeFile(join(directory, "inst-3.json"), text.slice(0, 100));
    await writeFile(join(directory, "inst-4.json"), text);
    await writeFile(join(directory, "inst-5.json"), text.replace('"goal": "RUNNING"', '"goal": "WALKING"').replace(INSTANCE, "inst-5"));
    await writeFile(join(directory, "stranger.json"), "{}");
    await writeFile(join(directory, ".inst-6.json.1.abc"), "{");
    await writeFile(join(directory, "session.json"), "garbage");
    const again = await open();
    expect(again.found.map((stored) => ("record" in stored ? stored.record.desired.instanceId : "")).sort()).toEqual([INSTANCE, "inst-2"]);
    const left = (await readdir(directory)).map((name) => name.replace(/\d{13}$/, "")).sort();
    const damaged = ["inst-3", "inst-4", "inst-5", "stranger"].map((name) => `${name}.json.damaged-`);
    expect(left).toEqual([`${INSTANCE}.json`, "inst-2.json", ...damaged, "session.json"].sort());
  });

  it("keeps at most 20 damaged files", async () => {
    for (let index = 0; index < 30; index += 1) await writeFile(join(directory, `inst-${index}.json.damaged-${1000 + index}`), "");
    await open();
    const left = await readdir(directory);
    expect(left.filter((name) => name.includes("damaged"))).toHaveLength(20);
    expect(left).toContain("inst-29.json.damaged-1029");
  });

  it("forgets the removed after 7 days, and the oldest beyond the most that it keeps", async () => {
    const store = await open();
    await store.put("inst-old", tombstone("inst-old", now - 8 * DAY_MS));
    await store.put("inst-new", tombstone("inst-new", now - 6 * DAY_MS));
    await store.prune();
    expect(store.tombstones(10).map(({ instanceId }) => instanceId)).toEqual(["inst-new"]);
    expect(await readdir(directory)).not.toContain("inst-old.json");
    for (let index = 0; index < 12; index += 1) await store.put(`inst-m${index}`, tombstone(`inst-m${index}`, now - index));
    const full = await open({ maxTombstones: 10 });
    expect(full.tombstones(100)).toHaveLength(10);
    expect([full.tombstone("inst-m0") !== null, full.tombstone("inst-m11"), full.tombstone("inst-new")]).toEqual([true, null, null]);
    expect((await readdir(directory)).filter((name) => name.startsWith("inst-"))).toHaveLength(10);
  });

  it("refuses ids that could lead elsewhere, and descriptions without end", async () => {
    const store = await open();
    await expect(store.put("inst-../x", { record: record() })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const long = record();
    long.desired.metadata = { labels: { long: "x".repeat(3 * 1024 * 1024) }, annotations: {} };
    await expect(store.put(INSTANCE, { record: long })).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
    expect(await readdir(directory)).toEqual(["session.json"]);
  });

  it("says where it cannot keep something", async () => {
    const store = await open();
    await mkdir(join(directory, `${INSTANCE}.json`));
    await expect(store.put(INSTANCE, { record: record() })).rejects.toMatchObject({ code: "UNAVAILABLE", reason: "StateNotSaved" });
    expect((await readdir(directory)).filter((name) => name.startsWith("."))).toEqual([]);
  });
});
