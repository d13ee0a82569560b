import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AgentFleet } from "../../../support/agent-fleet.ts";
import { until } from "../../../support/until.ts";

let fleet: AgentFleet;

beforeEach(async () => {
  fleet = await AgentFleet.open();
});

afterEach(() => fleet.close());

describe("the agent directory", () => {
  it("knows every node after the snapshot, then follows changes", async () => {
    fleet.cluster.set({ id: "node-1", agentId: "a1", ip: "127.0.0.1", port: 5 });
    fleet.cluster.set({ id: "node-2", simulated: true });
    const { address } = await fleet.servePort();
    const directory = fleet.directory(address);
    expect(directory.synced).toBe(false);
    directory.start();
    await directory.untilSynced();
    expect(directory.get("node-1")).toMatchObject({ agentId: "a1", address: "127.0.0.1:5", leaseExpired: false });
    expect(directory.get("node-2")).toMatchObject({ agentId: null, address: null, simulated: true });
    fleet.cluster.set({ id: "node-3" });
    fleet.cluster.delete("node-1");
    await until(() => directory.get("node-3") !== undefined && directory.get("node-1") === undefined);
  });

  it("goes on behind its cursor after the stream was lost, and misses nothing", async () => {
    fleet.cluster.set({ id: "node-1" });
    fleet.cluster.set({ id: "node-2" });
    const { address } = await fleet.servePort();
    const directory = fleet.directory(address);
    const gone: string[] = [];
    let snapshots = 0;
    directory.listen({
      onGone: (id) => gone.push(id),
      onSnapshot: () => {
        snapshots += 1;
      },
    });
    directory.start();
    await until(() => fleet.cluster.watchers === 1);
    fleet.cluster.cut();
    fleet.cluster.delete("node-1");
    fleet.cluster.set({ id: "node-3" });
    await until(() => directory.get("node-3") !== undefined);
    expect(gone).toEqual(["node-1"]);
    expect([...directory.nodeIds()].sort()).toEqual(["node-2", "node-3"]);
    expect(snapshots).toBe(1);
    expect(fleet.cluster.requests.at(-1)).toMatchObject({ after: "2", snapshot: false, bookmarks: true });
  });

  it("takes a new snapshot when its cursor has expired, and drops what is not in it", async () => {
    fleet.cluster.set({ id: "node-1" });
    fleet.cluster.set({ id: "node-2" });
    const { address } = await fleet.servePort();
    const directory = fleet.directory(address);
    const gone: string[] = [];
    directory.listen({ onGone: (id) => gone.push(id) });
    directory.start();
    await until(() => fleet.cluster.watchers === 1);
    fleet.cluster.nodes.delete("node-1");
    fleet.cluster.set({ id: "node-9" });
    await until(() => directory.get("node-9") !== undefined);
    fleet.cluster.set({ id: "node-10" });
    fleet.cluster.cut();
    fleet.cluster.set({ id: "node-11" });
    fleet.cluster.expireCursors();
    await until(() => directory.get("node-11") !== undefined);
    expect([...directory.nodeIds()].sort()).toEqual(["node-10", "node-11", "node-2", "node-9"]);
    expect(gone).toEqual(["node-1"]);
  });

  it("waits for a control plane that is not there yet, and comes back when it restarts", async () => {
    const first = await fleet.servePort();
    await first.server.stop(0);
    const directory = fleet.directory(first.address);
    directory.start();
    fleet.cluster.set({ id: "node-1" });
    const second = await fleet.servePort(undefined, first.port);
    await directory.untilSynced();
    await second.server.stop(0);
    fleet.cluster.set({ id: "node-2" });
    await fleet.servePort(undefined, first.port);
    await until(() => directory.get("node-2") !== undefined);
  });

  it("tells who waits for a node as soon as the watch has it, and asks ClusterService what the watch does not have", async () => {
    const { address } = await fleet.servePort();
    const directory = fleet.directory(address);
    directory.start();
    await until(() => fleet.cluster.watchers === 1);
    const { signal } = new AbortController();
    const waiting = directory.whenKnown("node-1", 10_000, signal);
    fleet.cluster.set({ id: "node-1", agentId: "a1" });
    expect((await waiting)?.agentId).toBe("a1");
    expect(await directory.whenKnown("node-2", 1, signal)).toBeUndefined();
    const ctx = { requestId: "r", deadlineAt: null, signal };
    expect((await directory.lookUp("node-1", ctx))?.nodeId).toBe("node-1");
    expect(await directory.lookUp("node-2", ctx)).toBeNull();
    fleet.cluster.set({ id: "node-1", deregistered: true });
    expect(await directory.lookUp("node-1", ctx)).toBeNull();
  });

  it("stops at once, also while it waits", async () => {
    const { address, server } = await fleet.servePort();
    const directory = fleet.directory(address);
    directory.start();
    await until(() => fleet.cluster.watchers === 1);
    await directory.stop();
    await until(() => fleet.cluster.watchers === 0);
    await server.stop(0);
  });
});
