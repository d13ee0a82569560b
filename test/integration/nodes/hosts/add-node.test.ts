import { afterAll, beforeAll, expect, test } from "vitest";
import { createLogger } from "../../../../platform/observability/log.ts";
import { openNodesStore } from "../../../../subgraphs/nodes/main.ts";
import { graphqlRefusal } from "../../../support/clusters-fleet.ts";
import { HostsFleet, type NodesReplica } from "../../../support/hosts-fleet.ts";
import { NODES_VARIANTS } from "../../../support/nodes-fleet.ts";
import { describeWithPeers } from "../../../support/peers.ts";
import type { RecordedBridge } from "../../../support/recorded-bridge.ts";
import { until } from "../../../support/until.ts";

for (const { name: variant, peers } of NODES_VARIANTS) {
  describeWithPeers(`adding hosts on ${variant}`, peers, () => {
    let fleet: HostsFleet;
    let replica: NodesReplica;
    let agent: RecordedBridge;

    beforeAll(async () => {
      fleet = await HostsFleet.start(variant);
      replica = await fleet.replica();
      agent = await fleet.bridge("bridge-a", replica);
    }, 60_000);

    afterAll(() => fleet?.[Symbol.asyncDispose]());

    /** Everything that the databases hold of hosts, as text. */
    async function stored(): Promise<string> {
      const store = await openNodesStore(fleet.databaseUrl, createLogger({ name: "test", level: "silent" }));
      try {
        const rows = await store.read((em) => em.execute("select * from bridged_host"));
        const events = await store.read((em) => em.execute("select * from event_log"));
        return JSON.stringify([rows, events]);
      } finally {
        await store.close();
      }
    }

    test("by password and by key: it is a node once an agent has reached it, and its agent alone gets the secret", async () => {
      const byPassword = fleet.addHost("by-password");
      const byKey = fleet.addHost("by-key");
      const first = await fleet.addNode(replica, {
        ...{ hostname: "By-Password", uri: byPassword.uri, kind: "HYBRID", region: "north", labels: [{ key: "rack", value: "7" }] },
        credentials: { password: byPassword.host.password },
      });
      expect(first.errors).toBeUndefined();
      expect(first.data).toMatchObject({ addNode: { bridgedBy: { id: agent.nodeId }, hostKeys: [byPassword.host.hostKey] } });
      const second = await fleet.addNode(replica, {
        ...{ hostname: "by-key", uri: byKey.uri, hostKeys: [`${byKey.host.hostKey} root@somewhere`] },
        credentials: { privateKey: byKey.host.privateKey },
      });
      expect(second.errors).toBeUndefined();

      await until(() => agent.hosts.length === 2, "both hosts in the agent's list");
      const [one, two] = agent.hosts.toSorted((a, b) => (a.hostname < b.hostname ? 1 : -1));
      expect(one).toMatchObject({ hostname: "by-password", generation: 1, kind: 3 });
      expect(one?.access).toMatchObject({ password: byPassword.host.password, privateKey: "", hostKeys: [byPassword.host.hostKey] });
      expect(two?.access).toMatchObject({ password: "", privateKey: byKey.host.privateKey, hostKeys: [byKey.host.hostKey] });
      await until(async () => (await fleet.nodes()).get("by-password")?.status === "READY", "the host's first report");
      expect((await fleet.nodes()).get("by-password")).toMatchObject({
        ...{ kind: "HYBRID", uri: byPassword.uri, agentId: agent.agentId, region: "north", labels: [{ key: "rack", value: "7" }] },
        ...{ capacity: { cpuCores: 8 }, connection: { state: "CONNECTED", bridged: true } },
      });

      const everywhere = [await stored(), fleet.logged.join("\n"), JSON.stringify([...(await fleet.nodes()).values()])].join("\n");
      expect(everywhere).toContain("by-password");
      for (const secret of [byPassword.host.password, byKey.host.privateKey.split("\n")[1] as string]) {
        expect(everywhere.includes(secret)).toBe(false);
      }
    });

    test.each([
      ["RESOLVE", "ResolveFailed", "UNAVAILABLE"],
      ["CONNECT", "ConnectFailed", "UNAVAILABLE"],
      ["LIBVIRT", "NoLibvirt", "FAILED_PRECONDITION"],
      ["LIBVIRT", "LibvirtTooOld", "FAILED_PRECONDITION"],
      ["HARDWARE", "NoHardware", "FAILED_PRECONDITION"],
    ])("a failure at %s says so (%s), and nothing is left", async (step, reason, code) => {
      const { uri, host } = fleet.addHost(`fails-${reason.toLowerCase()}`, { fails: { step, reason } });
      const refused = await fleet.addNode(replica, { hostname: "fails", uri, credentials: { password: host.password } });
      expect(graphqlRefusal(refused)).toMatchObject({ code, reason, step });
      expect((await fleet.nodes()).has("fails")).toBe(false);
      expect(await stored()).not.toContain(uri);
    });

    test("a wrong password and a wrong key are the host's refusal, not the caller's", async () => {
      const { uri, host } = fleet.addHost("locked");
      for (const credentials of [{ password: "wrong" }, { privateKey: host.privateKey.replace(/\n./, "\nX") }]) {
        const refused = await fleet.addNode(replica, { hostname: "locked", uri, credentials });
        expect(graphqlRefusal(refused)).toMatchObject({
          code: "FAILED_PRECONDITION",
          reason: "AuthenticationFailed",
          step: "AUTHENTICATE",
        });
      }
    });

    test("a host with another key than the given one is refused before anybody signs in", async () => {
      const { uri, host } = fleet.addHost("changed");
      const { host: other } = fleet.addHost("other");
      const refused = await fleet.addNode(replica, {
        ...{ hostname: "changed", uri, hostKeys: [other.hostKey] },
        credentials: { password: host.password },
      });
      expect(graphqlRefusal(refused)).toMatchObject({ code: "FAILED_PRECONDITION", reason: "HostKeyChanged", step: "HOST_KEY" });
    });

    test("the same machine is not added twice, whatever it is called; nor a name", async () => {
      const { uri, host } = fleet.addHost("one-machine");
      const credentials = { password: host.password };
      expect((await fleet.addNode(replica, { hostname: "one-machine", uri, credentials })).errors).toBeUndefined();
      const alias = fleet.addHost("alias", { ...host });
      const again = await fleet.addNode(replica, { hostname: "alias", uri: alias.uri, credentials });
      const { id } = (await fleet.nodes()).get("one-machine");
      expect(graphqlRefusal(again)).toMatchObject({ code: "ALREADY_EXISTS", reason: "SameHost", id });
      const clone = fleet.addHost("clone", { uuid: host.uuid });
      const named = await fleet.addNode(replica, { hostname: "bridge-a", uri: clone.uri, credentials: { password: clone.host.password } });
      expect(graphqlRefusal(named)).toMatchObject({ code: "ALREADY_EXISTS", reason: "HostnameTaken", field: "hostname" });
      // A clone shares the id of the host, and not its boot.
      const added = await fleet.addNode(replica, { hostname: "clone", uri: clone.uri, credentials: { password: clone.host.password } });
      expect(added.errors).toBeUndefined();
    });

    test("a request that is repeated, at once or later, adds one host", async () => {
      const { uri, host } = fleet.addHost("once");
      const input = { hostname: "once", uri, clientRequestId: "req-1", credentials: { password: host.password } };
      const answers = await Promise.all([fleet.addNode(replica, input), fleet.addNode(replica, input), fleet.addNode(replica, input)]);
      const later = await fleet.addNode(replica, input);
      const ids = [...answers, later].map(({ data, errors }) => {
        expect(errors).toBeUndefined();
        return (data as { addNode: { node: { id: string } } }).addNode.node.id;
      });
      expect(new Set(ids).size).toBe(1);
      const other = await fleet.addNode(replica, { ...input, hostname: "another" });
      expect(graphqlRefusal(other)).toMatchObject({ code: "INVALID_ARGUMENT", field: "clientRequestId" });
    });

    test("only an admin adds and deletes", async () => {
      const { uri, host } = fleet.addHost("rights");
      const input = { hostname: "rights", uri, credentials: { password: host.password } };
      const deletion = 'mutation { deleteNode(input: { nodeId: "node-x", hostname: "x" }) { nodeId } }';
      for (const role of ["viewer", "operator"] as const) {
        expect(graphqlRefusal(await fleet.addNode(replica, input, role))).toMatchObject({ code: "FORBIDDEN", requiredRole: "admin" });
        expect(graphqlRefusal(await fleet.ask(replica, deletion, {}, role))).toMatchObject({ code: "FORBIDDEN" });
      }
      expect(graphqlRefusal(await fleet.addNode(replica, input, null))).toMatchObject({ code: "UNAUTHENTICATED" });
    });

    test.each([
      [{ hostname: "bad host" }, "hostname"],
      [{ uri: "qemu+ssh://root:secret@h/system" }, "uri"],
      [{ credentials: null }, "credentials"],
      [{ credentials: { privateKey: "not a key" } }, "credentials.privateKey"],
      [{ credentials: { password: "x".repeat(1025) } }, "credentials.password"],
      [{ credentials: { password: "x", passphrase: "y" } }, "credentials.passphrase"],
      [{ hostKeys: ["ssh-ed25519 nonsense"] }, "hostKeys[0]"],
      [{ uri: "qemu+unix:///system?socket=/s", credentials: { password: "x" } }, "credentials"],
      [{ region: "\u0007" }, "region"],
      [
        {
          labels: [
            { key: "a", value: "1" },
            { key: "a", value: "2" },
          ],
        },
        "labels",
      ],
    ])("bad input %# is refused, naming the field", async (more, field) => {
      const input = { hostname: "bad", uri: "qemu+ssh://root@h/system", credentials: { password: "x" }, ...more };
      expect(graphqlRefusal(await fleet.addNode(replica, input))).toMatchObject({ code: "INVALID_ARGUMENT", field });
    });
  });
}
