import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { HostsFleet, type NodesReplica } from "../../../support/hosts-fleet.ts";
import { CAMPAIGN } from "../../../support/in-campaigns.ts";
import { NODES_VARIANTS } from "../../../support/nodes-fleet.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import type { RecordedBridge } from "../../../support/recorded-bridge.ts";
import { until } from "../../../support/until.ts";

// The other database is left to campaigns.
for (const { name: variant, peers } of NODES_VARIANTS.filter(({ name }) => CAMPAIGN || name === "PostgreSQL")) {
  describeWithPeers(`hosts and the agents that stand for them on ${variant}`, peers, () => {
    let fleet: HostsFleet;
    const replicas: NodesReplica[] = [];
    const agents: RecordedBridge[] = [];

    beforeAll(async () => {
      fleet = await HostsFleet.start(variant);
      // SQLite is one process's.
      for (let count = variant === "SQLite" ? 1 : 2; count > 0; count -= 1) replicas.push(await fleet.replica());
      for (const [index, name] of ["bridge-a", "bridge-b", "bridge-c"].entries()) {
        agents.push(await fleet.bridge(name, replicas[index % replicas.length] as NodesReplica));
      }
      await fleet.bridge("unwilling", replicas[0] as NodesReplica, false);
    }, 60_000);

    afterAll(() => fleet?.[Symbol.asyncDispose]());

    const standingFor = (hostname: string) => agents.filter(({ hosts }) => hosts.some((host) => host.hostname === hostname));

    test("hosts are spread over the agents that are willing", async () => {
      for (const name of ["h1", "h2", "h3"]) {
        const { uri, host } = fleet.addHost(name);
        const [replica] = replicas as [NodesReplica];
        expect((await fleet.addNode(replica, { hostname: name, uri, credentials: { password: host.password } })).errors).toBeUndefined();
      }
      await until(() => agents.every(({ hosts }) => hosts.length === 1), "one host for each agent");
      await until(async () => [...(await fleet.nodes()).values()].every(({ status }) => status === "READY"), "all to be READY");
    });

    test("an agent dies: exactly one other takes its host, with the next generation, and the dead one's word counts no more", async () => {
      const [dead] = standingFor("h1") as [RecordedBridge];
      const { id } = (await fleet.nodes()).get("h1");
      const pinned = dead.hosts[0]?.access?.hostKeys;
      await dead.kill();
      await until(async () => (await fleet.nodes()).get("h1").connection.state === "AGENT_LOST", "the lease to run out");
      await until(() => standingFor("h1").length > 0, "another agent to have it");
      await until(async () => (await fleet.nodes()).get("h1").connection.state === "CONNECTED", "the host to be reported");
      const [heir, ...others] = standingFor("h1");
      expect(others).toEqual([]);
      expect(heir?.hosts.find(({ hostname }) => hostname === "h1")).toMatchObject({
        nodeId: id,
        generation: 2,
        access: { hostKeys: pinned },
      });
      expect((await fleet.nodes()).get("h1")).toMatchObject({ id, agentId: heir?.agentId });

      await dead.start();
      const late = await dead.beat(id).catch((error: unknown) => FleetError.from(error));
      expect(late).toMatchObject({ code: "FORBIDDEN", reason: "NotYourNode" });
      expect(dead.hosts).toEqual([]);
      // It stays where it is: an agent that comes back takes nothing.
      await sleep(1_500);
      expect(standingFor("h1")).toEqual([heir]);
    }, 60_000);

    test("while its agent only lost the list, and reports all the same, a host stays where it is", async () => {
      const [own] = standingFor("h2") as [RecordedBridge];
      const lists = own.lists.length;
      own.loseList();
      await until(() => own.lists.length > lists, "the list to be followed again");
      expect(standingFor("h2")).toEqual([own]);
      expect(own.hosts.find(({ hostname }) => hostname === "h2")?.generation).toBe(1);
    });
  });
}
