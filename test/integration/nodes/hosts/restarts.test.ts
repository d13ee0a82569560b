import { expect, test } from "vitest";
import { HostsFleet } from "../../../support/hosts-fleet.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import { until } from "../../../support/until.ts";

describeWithPeers("additions that outlive their control plane", [], () => {
  test("cut off while the host is contacted: the next start goes on, and adds it once", async () => {
    await using fleet = await HostsFleet.start("SQLite");
    const first = await fleet.replica();
    const agent = await fleet.bridge("bridge-a", first);
    const { uri, host } = fleet.addHost("later");
    const answered = Promise.withResolvers<void>();
    agent.holding = answered.promise;
    const input = { hostname: "later", uri, clientRequestId: "once", credentials: { password: host.password } };
    const asked = fleet.addNode(first, input).catch((error: unknown) => error);
    await until(() => agent.probed.length === 1, "the host to be contacted");
    await first.kill();
    await asked;
    expect((await fleet.nodes()).has("later")).toBe(false);
    answered.resolve();

    const second = await fleet.replica();
    agent.loseList(second.address);
    await until(async () => (await fleet.nodes()).get("later")?.status === "READY", "the host to be added");
    const { data, errors } = await fleet.addNode(second, input);
    expect(errors).toBeUndefined();
    expect(data).toMatchObject({ addNode: { node: { id: (await fleet.nodes()).get("later").id } } });
    expect([...(await fleet.nodes()).keys()].toSorted()).toEqual(["bridge-a", "later"]);
  }, 90_000);

  test("without any agent it says so; one that is not willing is none", async () => {
    await using fleet = await HostsFleet.start("SQLite");
    const replica = await fleet.replica();
    await fleet.bridge("unwilling", replica, false);
    const { uri, host } = fleet.addHost("alone");
    const { errors } = await fleet.addNode(replica, { hostname: "alone", uri, credentials: { password: host.password } });
    expect(errors?.[0]?.extensions).toMatchObject({ code: "UNAVAILABLE", reason: "NoBridgingAgent", step: "AGENT" });
  }, 60_000);
});
