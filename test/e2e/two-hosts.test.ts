import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { type FleetHost, hostTruth } from "../support/fleet-host.ts";
import { describeWithPeers } from "../support/peers.ts";
import { GUEST_COMMAND_LINE } from "../support/tiny-guest.ts";

const MIB = 2 ** 20;
const LEASE = ["--lease-ttl", "5s", "--heartbeat-interval", "1s"];
const NODE_OF = "query ($id: ID!) { instance(id: $id) { state node { id } } }";

describeWithPeers("two hosts with a libvirtd each", ["network-namespaces", "libvirt"], () => {
  let fleet: ComputeFleet;
  const onHost = new Map<string, string[]>();

  beforeAll(async () => {
    fleet = await ComputeFleet.start({ hosts: [{ containers: false }, { containers: false }], flags: LEASE });
  }, 180_000);

  afterAll(() => fleet?.stop());

  async function create(name: string, more: Record<string, unknown> = {}): Promise<string> {
    const spec = {
      ...{ image: "tiny", kernel: "tiny-kernel", initrd: "tiny-initrd", kernelArgs: GUEST_COMMAND_LINE },
      ...{ cpuCores: 1, memoryBytes: 96 * MIB, network: { networkId: "none" } },
    };
    return (await fleet.change("createInstance", { name, type: "MICROVM", spec, ...more })).id;
  }

  async function nodeOf(id: string): Promise<string> {
    return (await fleet.query(NODE_OF, { id })).instance.node.id;
  }

  function statusOf({ hostname }: FleetHost): Promise<string> {
    return fleet.query(`{ nodes(filter: { name: "${hostname}" }) { nodes { status } } }`).then(({ nodes }) => nodes.nodes[0].status);
  }

  test("instances are spread over both, and each runs where it was placed", async () => {
    const ids: string[] = [];
    for (const name of ["a", "b", "c", "d"]) ids.push(await create(name));
    for (const id of ids) await fleet.untilState(id, "RUNNING");
    for (const id of ids) {
      const node = await nodeOf(id);
      onHost.set(node, [...(onHost.get(node) ?? []), id]);
    }
    expect([...onHost.values()].map((here) => here.length)).toEqual([2, 2]);
    for (const host of fleet.hosts) expect((await hostTruth(host)).domains).toEqual(onHost.get(host.nodeId)?.toSorted());
  }, 120_000);

  test("one is cut off: nothing of it starts elsewhere, and a deletion sent meanwhile finishes on its return", async () => {
    const [away, here] = fleet.hosts as [FleetHost, FleetHost];
    const [deleted, kept] = onHost.get(away.nodeId) as [string, string];
    const before = await hostTruth(here);
    await away.host.namespace.cut();
    await expect.poll(() => statusOf(away), { timeout: 30_000, interval: 200 }).toBe("UNKNOWN");

    await fleet.change("deleteInstance", { instanceId: deleted });
    const placed = await create("while-away", { preferredNodeId: away.nodeId });
    await fleet.untilState(placed, "RUNNING");
    expect(await nodeOf(placed)).toBe(here.nodeId);
    // Longer than any lease, so that an impatient control plane would have acted.
    await sleep(6_000);
    expect((await hostTruth(away)).domains).toEqual([deleted, kept].toSorted());
    expect((await hostTruth(here)).domains).toEqual([...before.domains, placed].toSorted());
    expect((await fleet.query(NODE_OF, { id: deleted })).instance.state).toBe("STOPPING");
    expect((await fleet.query(NODE_OF, { id: kept })).instance.state).toBe("RUNNING");

    await away.host.namespace.mend();
    await fleet.untilState(deleted, "DELETED", 60_000);
    expect((await hostTruth(away)).domains).toEqual([kept]);
    expect((await fleet.query(NODE_OF, { id: kept })).instance.state).toBe("RUNNING");
  }, 180_000);
});
