import { afterAll, beforeAll, expect, test } from "vitest";
import {
  type Instance,
  type InstanceEvent,
  InstanceState,
  InstanceType,
  type ListInstancesRequest,
  type WatchInstanceRequest,
} from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { graphqlRefusal, refusal } from "../../support/clusters-fleet.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";

const VM = { image: "debian", cpuCores: 1, memoryBytes: GIB };

/** "ADDED web-1 RUNNING" */
function line({ eventType, instance }: InstanceEvent): string {
  const type = eventType.replace("EVENT_TYPE_", "");
  return instance ? `${type} ${instance.name} ${instance.state.replace("INSTANCE_STATE_", "")}` : type;
}

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`lists and watches of instances, on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let first: RecordedAgent;
    let operator: ComputeClient;
    let viewer: ComputeClient;
    let made: Instance[];

    const make = async (name: string, type: InstanceType, nodeId: string, labels: Record<string, string> = {}, more = {}) => {
      const instance = await operator.createInstance({
        name,
        type,
        spec: VM,
        preferredNodeId: nodeId,
        metadata: { labels, annotations: {} },
        ...more,
      });
      await plane.untilState(instance.id, "RUNNING");
      return instance;
    };

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start();
      first = await plane.node("node-1");
      await plane.node("node-2");
      operator = await plane.client("operator");
      viewer = await plane.client("viewer");
      const { VM: vm, CONTAINER, MICROVM } = InstanceType;
      made = [
        await make("alpha", vm, "node-1", { app: "web", "kubernetes.io/tier": 'fr"ont' }),
        await make("Alphabet", CONTAINER, "node-2", { app: "web" }),
        await make("100% _real", vm, "node-2", { app: "db" }),
        await make("beta", MICROVM, "node-1"),
        await make("beta", CONTAINER, "node-1", { app: "db" }),
      ];
      await operator.stopInstance({ instanceId: made[3]!.id });
      await plane.untilState(made[3]!.id, "STOPPED");
      first.found("foreign", { state: InstanceState.RUNNING, cpuCores: 1, memoryBytes: GIB });
      const gone = await make("gone", vm, "node-1", { app: "web" });
      await operator.deleteInstance({ instanceId: gone.id });
      await plane.untilState(gone.id, "DELETED");
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());

    const names = async (request: Partial<ListInstancesRequest>) => (await viewer.listInstances(request)).instances.map(({ name }) => name);

    test("lists by name, and by every filter alone and together", async () => {
      expect(await names({})).toEqual(["100% _real", "Alphabet", "alpha", "beta", "beta", "foreign"]);
      expect(await names({ type: InstanceType.CONTAINER })).toEqual(["Alphabet", "beta"]);
      expect(await names({ state: InstanceState.STOPPED })).toEqual(["beta"]);
      expect(await names({ nodeId: "node-2" })).toEqual(["100% _real", "Alphabet"]);
      expect(await names({ name: "ALPHA" })).toEqual(["Alphabet", "alpha"]);
      expect(await names({ name: "0% _" })).toEqual(["100% _real"]);
      expect(await names({ name: "%" })).toEqual(["100% _real"]);
      expect(await names({ name: "_" })).toEqual(["100% _real"]);
      expect(await names({ labels: { app: "web" } })).toEqual(["Alphabet", "alpha"]);
      expect(await names({ labels: { app: "web", "kubernetes.io/tier": 'fr"ont' } })).toEqual(["alpha"]);
      expect(await names({ labels: { app: "' or 1=1 --" } })).toEqual([]);
      expect(await names({ managed: false })).toEqual(["foreign"]);
      expect(await names({ managed: true, type: InstanceType.VM, labels: { app: "db" } })).toEqual(["100% _real"]);
      expect(await names({ state: InstanceState.DELETED })).toEqual(["gone"]);
      expect(await names({ includeDeleted: true, name: "g" })).toEqual(["foreign", "gone"]);
    });

    test("pages hold together, also where names are the same, and count what matches", async () => {
      const seen: string[] = [];
      let pageToken = "";
      do {
        const page = await viewer.listInstances({ pageSize: 2, pageToken });
        expect(page.totalCount).toBe(6);
        seen.push(...page.instances.map(({ id }) => id));
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      expect(seen).toHaveLength(6);
      expect(new Set(seen).size).toBe(6);
    });

    test("over GraphQL: the same list as a connection, and a node's own", async () => {
      const { instances } = await plane.ask(`{ instances(first: 2, filter: { labels: [{ key: "app", value: "db" }] }) {
        totalCount watchCursor pageInfo { hasNextPage endCursor } nodes { name } edges { cursor node { name } } } }`);
      expect(instances).toMatchObject({
        totalCount: 2,
        pageInfo: { hasNextPage: false },
        nodes: [{ name: "100% _real" }, { name: "beta" }],
      });
      const { _entities } =
        await plane.ask(`{ _entities(representations: [{ __typename: "Node", id: "node-1" }, { __typename: "Node", id: "nowhere" }]) { ... on Node {
        instances(filter: { managed: true }) { totalCount nodes { name } }
        instanceTotals { managed unmanaged running reservedCpuCores reservedMemoryBytes reservedDiskBytes reservedGpuCount } instanceTypes { type } } } }`);
      expect(_entities).toEqual([
        {
          instances: { totalCount: 3, nodes: [{ name: "alpha" }, { name: "beta" }, { name: "beta" }] },
          instanceTotals: {
            managed: 3,
            unmanaged: 1,
            running: 3,
            reservedCpuCores: 3,
            reservedMemoryBytes: 3 * GIB,
            reservedDiskBytes: 0,
            reservedGpuCount: 0,
          },
          instanceTypes: [],
        },
        {
          instances: { totalCount: 0, nodes: [] },
          instanceTotals: {
            managed: 0,
            unmanaged: 0,
            running: 0,
            reservedCpuCores: 0,
            reservedMemoryBytes: 0,
            reservedDiskBytes: 0,
            reservedGpuCount: 0,
          },
          instanceTypes: null,
        },
      ]);
    });

    test("instances are found by reference, also deleted ones, and null where there is none", async () => {
      const [alpha] = made;
      const { _entities } = await plane.ask(
        `query ($reps: [_Any!]!) { _entities(representations: $reps) { ... on Instance { name node { id } } } }`,
        { reps: [alpha!.id, "inst-nowhere"].map((id) => ({ __typename: "Instance", id })) },
      );
      expect(_entities).toEqual([{ name: "alpha", node: { id: "node-1" } }, null]);
    });

    /** Reads so many events, then hangs up. */
    async function take(count: number, request: Partial<WatchInstanceRequest>): Promise<InstanceEvent[]> {
      const events: InstanceEvent[] = [];
      for await (const event of viewer.watchInstance(request)) {
        events.push(event);
        if (events.length === count) break;
      }
      return events;
    }
    const now = async () => (await viewer.listInstances({ pageSize: 1 })).watchCursor;

    test("a watch shows each change, goes on behind any cursor without gap or repeat, and takes the list's filter", async () => {
      const after = await now();
      const { id } = await make("watched", InstanceType.VM, "node-2", { app: "watched" });
      await operator.deleteInstance({ instanceId: id });
      await plane.untilState(id, "DELETED");
      const all = await take(6, { after, labels: { app: "watched" } });
      expect(all.map(line)).toEqual([
        "ADDED watched CREATING",
        "MODIFIED watched CREATING",
        "MODIFIED watched STARTING",
        "MODIFIED watched RUNNING",
        "MODIFIED watched STOPPING",
        "DELETED watched DELETED",
      ]);
      for (let index = 0; index < 5; index += 1) {
        const rest = await take(5 - index, { after: all[index]!.cursor, labels: { app: "watched" } });
        expect(rest).toEqual(all.slice(index + 1));
      }
      expect((await take(2, { after, instanceId: id, state: InstanceState.RUNNING })).map(line)).toEqual([
        "ADDED watched RUNNING",
        "DELETED watched STOPPING",
      ]);
    });

    test("over GraphQL: list, then watch from the list's cursor; a socket that was cut goes on; a snapshot begins with what exists", async () => {
      const { instances } = await plane.ask("{ instances { watchCursor } }");
      let after = instances.watchCursor;
      const { id } = await make("resumed", InstanceType.VM, "node-1");
      for (const state of ["CREATING", "CREATING", "STARTING", "RUNNING"]) {
        const events = plane.replica.subgraph.handler.subscribe({
          query: `subscription ($after: String, $filter: InstanceFilter) { instanceEvents(after: $after, filter: $filter) {
            type cursor timestamp instance { name state node { id } spec { env { key } } } } }`,
          variables: { after, filter: { ids: [id] } },
          headers: await plane.headers("viewer"),
        });
        const { instanceEvents } = (await events.next()).value.data as { instanceEvents: { cursor: string } };
        expect(instanceEvents).toMatchObject({ instance: { name: "resumed", state, node: { id: "node-1" }, spec: { env: null } } });
        after = instanceEvents.cursor;
        await events.return?.();
      }
      const snapshot = plane.replica.subgraph.handler.subscribe({
        query: `subscription { instanceEvents(snapshot: true, filter: { nodeId: "node-2" }) { type instance { name } } }`,
        headers: await plane.headers("viewer"),
      });
      const seen: unknown[] = [];
      for (let index = 0; index < 3; index += 1) seen.push((await snapshot.next()).value.data);
      expect(seen.slice(0, 2)).toContainEqual({ instanceEvents: { type: "ADDED", instance: { name: "Alphabet" } } });
      expect(seen[2]).toEqual({ instanceEvents: { type: "BOOKMARK", instance: null } });
      await snapshot.return?.();
    });

    test("what no watch can show is refused; a watch ends with DRAINING when its replica stops", async () => {
      const subscribe = async (filter: string, replica = plane.replica) =>
        replica.subgraph.handler.subscribe({
          query: `subscription { instanceEvents${filter} { type } }`,
          headers: await plane.headers("viewer"),
        });
      expect(graphqlRefusal((await (await subscribe("(filter: { includeDeleted: true })")).next()).value)).toMatchObject({
        code: "INVALID_ARGUMENT",
        field: "filter.includeDeleted",
      });
      expect(graphqlRefusal((await (await subscribe("(filter: { state: DELETED })")).next()).value)).toMatchObject({
        code: "INVALID_ARGUMENT",
        field: "filter.state",
      });
      expect(graphqlRefusal((await (await subscribe('(after: "broken")')).next()).value)).toMatchObject({
        code: "INVALID_ARGUMENT",
        field: "after",
      });
      const watch = viewer.watchInstance({ state: InstanceState.DELETED })[Symbol.asyncIterator]();
      expect(await refusal(watch.next())).toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "state" } });
      const kept = plane.replica;
      const second = await plane.start();
      const events = await subscribe("", second);
      await events.next();
      const last = events.next();
      await second.stop();
      expect((await last).value.errors?.[0]?.extensions).toMatchObject({ code: "DRAINING" });
      await kept.stop();
    });
  });
}
