import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Role } from "../../../platform/auth/identity.ts";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { NodeStatus } from "../../../schema/generated/proto/hypervisor/v1/cluster.ts";
import { InstanceSpec, InstanceType } from "../../../schema/generated/proto/hypervisor/v1/compute.ts";
import { COMPUTE_VARIANTS, type ComputeClient, ComputeControlPlane, GIB } from "../../support/compute-control-plane.ts";
import { describeWithPeers } from "../../support/peers.ts";
import type { RecordedAgent } from "../../support/recorded-agent.ts";
import { until } from "../../support/until.ts";

const VM = { image: "debian", cpuCores: 1, memoryBytes: GIB };
const DEVICES = "spec { volumes { name pool volume readOnly } interfaces { name network { networkId securityGroups } } }";

for (const variant of COMPUTE_VARIANTS) {
  describeWithPeers(`storage and devices, on ${variant.name}`, variant.peers, () => {
    let plane: ComputeControlPlane;
    let agent: RecordedAgent;
    let operator: ComputeClient;
    let instances = 0;

    beforeAll(async () => {
      plane = await ComputeControlPlane.open(variant.name);
      await plane.start();
      operator = await plane.client();
      agent = await plane.node("node-1");
    });
    afterEach(() => {
      agent.storage.onPlug = null;
    });
    afterAll(() => plane?.[Symbol.asyncDispose]());

    // biome-ignore lint/suspicious/noExplicitAny: what comes back is what the test asked for
    async function change(role: Role, name: string, input: Record<string, unknown>, selection: string): Promise<any> {
      const type = `${name[0]?.toUpperCase()}${name.slice(1)}Input!`;
      const { data, errors } = await plane.execute(role, `mutation ($input: ${type}) { ${name}(input: $input) { ${selection} } }`, {
        input,
      });
      if (errors) throw new Refused(errors[0]?.extensions ?? {});
      return data?.[name];
    }
    const device = (name: string, input: Record<string, unknown>) =>
      change("operator", name, input, `task { id state } instance { ${DEVICES} }`);
    async function untilTask(id: string, state: string) {
      // biome-ignore lint/suspicious/noExplicitAny: what comes back is what the test asked for
      let task: any;
      await until(async () => {
        task = (
          await plane.ask("query ($id: ID!) { task(id: $id) { state status error { code reason } instance { id } node { id } } }", { id })
        ).task;
        return task.state === state;
      }, `${id} to be ${state}`).catch((error: Error) => {
        throw new Error(`${error.message} It is ${JSON.stringify(task)}`);
      });
      return task;
    }
    async function create(more: Record<string, unknown> = {}, type = InstanceType.VM): Promise<string> {
      instances += 1;
      const spec = InstanceSpec.fromPartial({ ...VM, ...more });
      const { id } = await operator.createInstance({ name: `with-devices-${instances}`, type, spec, preferredNodeId: "node-1" });
      await plane.untilState(id, "RUNNING");
      return id;
    }
    async function volume(name: string): Promise<void> {
      if (!agent.storage.pools.has("fast")) {
        await change("admin", "createStoragePool", { nodeId: "node-1", name: "fast", kind: "DIR", path: "/srv/fast" }, "pool { name }");
      }
      await change("operator", "createVolume", { nodeId: "node-1", pool: "fast", name, capacityBytes: GIB }, "volume { name }");
    }

    test("pools and volumes are made, listed with one call, grown and deleted", async () => {
      const path = "/srv/plain";
      const { pool } = await change(
        "admin",
        "createStoragePool",
        { nodeId: "node-1", name: "plain", kind: "DIR", path },
        "pool { name kind path active node { id } }",
      );
      expect(pool).toEqual({ name: "plain", kind: "DIR", path, active: true, node: { id: "node-1" } });
      for (const name of ["b", "a"]) {
        await change(
          "operator",
          "createVolume",
          { nodeId: "node-1", pool: "plain", name, capacityBytes: GIB, format: "RAW" },
          "volume { name }",
        );
      }
      const grown = { nodeId: "node-1", pool: "plain", name: "a", capacityBytes: 2 * GIB };
      expect((await change("operator", "resizeVolume", grown, "volume { capacityBytes format }")).volume).toEqual({
        capacityBytes: 2 * GIB,
        format: "RAW",
      });
      await expect(change("operator", "resizeVolume", { ...grown, capacityBytes: GIB }, "volume { name }")).rejects.toMatchObject({
        extensions: { code: "FAILED_PRECONDITION", reason: "VolumeShrink" },
      });
      const before = agent.storage.volumeLists;
      const query = `{ _entities(representations: [{ __typename: "Node", id: "node-1" }]) { ... on Node { storagePools { name volumes { name usedBy instances { id } } } } } }`;
      const { _entities } = await plane.ask(query);
      const plain = _entities[0].storagePools.find(({ name }: { name: string }) => name === "plain");
      expect(plain.volumes.map(({ name }: { name: string }) => name)).toEqual(["a", "b"]);
      expect(agent.storage.volumeLists).toBe(before + 1);
      await expect(change("admin", "deleteStoragePool", { nodeId: "node-1", name: "plain" }, "name")).rejects.toMatchObject({
        extensions: { reason: "PoolNotEmpty" },
      });
      await change("operator", "deleteVolume", { nodeId: "node-1", pool: "plain", name: "a" }, "name");
      await change("admin", "deleteStoragePool", { nodeId: "node-1", name: "plain", withVolumes: true }, "name");
      expect(agent.storage.pools.has("plain")).toBe(false);
    });

    test("who may not is refused, and so is what cannot be", async () => {
      const pool = { nodeId: "node-1", name: "mine", kind: "DIR", path: "/srv/mine" };
      await expect(change("operator", "createStoragePool", pool, "pool { name }")).rejects.toMatchObject({
        extensions: { code: "FORBIDDEN" },
      });
      await expect(change("operator", "deleteStoragePool", { nodeId: "node-1", name: "mine" }, "name")).rejects.toMatchObject({
        extensions: { code: "FORBIDDEN" },
      });
      const made = { nodeId: "node-1", pool: "fast", name: "v", capacityBytes: GIB };
      await expect(change("viewer", "createVolume", made, "volume { name }")).rejects.toMatchObject({ extensions: { code: "FORBIDDEN" } });
      const attach = { instanceId: "inst-none", name: "data", pool: "fast", volume: "v" };
      await expect(change("viewer", "attachVolume", attach, "task { id }")).rejects.toMatchObject({ extensions: { code: "FORBIDDEN" } });
      await expect(device("attachVolume", attach)).rejects.toMatchObject({ extensions: { code: "NOT_FOUND", field: "instanceId" } });
      for (const [wrong, field] of [
        [{ ...pool, path: "relative" }, "path"],
        [{ ...pool, path: "/srv/../etc" }, "path"],
        [{ ...pool, name: "../etc" }, "name"],
        [{ ...pool, kind: "OTHER" }, "kind"],
        [{ ...pool, kind: "NETFS", source: "no-export" }, "source"],
      ] as const) {
        await expect(change("admin", "createStoragePool", wrong, "pool { name }")).rejects.toMatchObject({
          extensions: { code: "INVALID_ARGUMENT", field },
        });
      }
      await expect(change("operator", "createVolume", { ...made, nodeId: "node-none" }, "volume { name }")).rejects.toMatchObject({
        extensions: { code: "NOT_FOUND" },
      });
    });

    test("a node that cannot be asked has no pools to show, with the reason, beside others that do", async () => {
      await plane.node("node-off", { status: NodeStatus.UNKNOWN });
      const query = `{ _entities(representations: [{ __typename: "Node", id: "node-off" }, { __typename: "Node", id: "node-1" }]) { ... on Node { id storagePools { name } } } }`;
      const { data, errors } = await plane.execute("viewer", query);
      // biome-ignore lint/suspicious/noExplicitAny: what comes back is what the test asked for
      const nodes = (data as any)._entities;
      expect(nodes[0].storagePools).toBeNull();
      expect(nodes[1].storagePools).not.toBeNull();
      expect(errors).toMatchObject([{ extensions: { code: "UNAVAILABLE", reason: "NodeOffline" } }]);
    });

    test("a volume and an interface are attached to what runs, told in full, kept in the spec, and detached", async () => {
      const id = await create();
      await volume("data-1");
      const applied = () => agent.applied.filter(({ instanceId }) => instanceId === id);
      const { task } = await device("attachVolume", { instanceId: id, name: "data", pool: "fast", volume: "data-1", readOnly: true });
      expect(await untilTask(task.id, "SUCCEEDED")).toEqual({
        state: "SUCCEEDED",
        status: null,
        error: null,
        instance: { id },
        node: { id: "node-1" },
      });
      const nic = await device("attachNetworkInterface", {
        instanceId: id,
        name: "backup",
        network: { networkId: "backup-net", securityGroups: ["closed"] },
      });
      await untilTask(nic.task.id, "SUCCEEDED");
      const { instance } = await plane.ask(
        `query ($id: ID!) { instance(id: $id) { state ${DEVICES} tasks { nodes { kind input { key value } } } } }`,
        { id },
      );
      expect(instance.spec).toEqual({
        volumes: [{ name: "data", pool: "fast", volume: "data-1", readOnly: true }],
        interfaces: [{ name: "backup", network: { networkId: "backup-net", securityGroups: ["closed"] } }],
      });
      expect(instance.tasks.nodes.map(({ kind }: { kind: string }) => kind)).toEqual(["INTERFACE_ATTACH", "VOLUME_ATTACH"]);
      expect(agent.storage.plugged.at(-1)).toMatchObject({
        instanceId: id,
        generation: 1,
        volumes: [{ name: "data" }],
        interfaces: [{ name: "backup" }],
      });
      // The agent is told of it, as of every revision, and the instance runs on.
      await until(() => applied().at(-1)?.spec?.interfaces.length === 1, "the agent to be told");
      expect(applied().at(-1)).toMatchObject({ revision: 3, spec: { volumes: [{ name: "data", readOnly: true }] } });
      expect((await operator.getInstance({ instanceId: id })).spec).toMatchObject({
        volumes: [{ volume: "data-1" }],
        interfaces: [{ name: "backup" }],
      });
      await expect(change("operator", "deleteVolume", { nodeId: "node-1", pool: "fast", name: "data-1" }, "name")).rejects.toMatchObject({
        extensions: { reason: "VolumeInUse" },
      });

      for (const [name, device_] of [
        ["detachVolume", "data"],
        ["detachNetworkInterface", "backup"],
      ] as const) {
        await untilTask((await device(name, { instanceId: id, name: device_ })).task.id, "SUCCEEDED");
      }
      expect(await plane.see(id)).toMatchObject({ state: "RUNNING", spec: { volumes: [], interfaces: [] } });
      expect(agent.storage.devices.get(id)).toEqual([]);
    });

    test("what the instance has already, or has not, or may not have is refused before anything is done", async () => {
      await volume("data-2");
      const id = await create({
        disks: [{ name: "scratch", sizeBytes: GIB }],
        volumes: [{ name: "data", pool: "fast", volume: "data-2" }],
      });
      const plugs = agent.storage.plugged.length;
      const attach = { instanceId: id, name: "more", pool: "fast", volume: "data-3" };
      for (const [name, input, extensions] of [
        ["attachVolume", { ...attach, name: "scratch" }, { code: "ALREADY_EXISTS", field: "name" }],
        ["attachVolume", { ...attach, name: "data" }, { code: "ALREADY_EXISTS", field: "name" }],
        ["attachVolume", { ...attach, volume: "data-2" }, { code: "ALREADY_EXISTS", field: "volume" }],
        ["attachVolume", { ...attach, name: "no spaces" }, { code: "INVALID_ARGUMENT", field: "name" }],
        ["attachVolume", { ...attach, volume: "../../etc/passwd" }, { code: "INVALID_ARGUMENT", field: "volume" }],
        ["detachVolume", { instanceId: id, name: "more" }, { code: "NOT_FOUND", field: "name" }],
        ["detachNetworkInterface", { instanceId: id, name: "more" }, { code: "NOT_FOUND", field: "name" }],
        [
          "attachNetworkInterface",
          { instanceId: id, name: "nic", network: { assignPublicIp: true } },
          { code: "INVALID_ARGUMENT", field: "network.assignPublicIp" },
        ],
        [
          "attachNetworkInterface",
          { instanceId: id, name: "nic", network: { networkId: "none" } },
          { code: "INVALID_ARGUMENT", field: "network.networkId" },
        ],
      ] as const) {
        await expect(device(name, input), `${name} ${JSON.stringify(input)}`).rejects.toMatchObject({ extensions });
      }
      const container = await create({ image: "nginx" }, InstanceType.CONTAINER);
      for (const name of ["attachVolume", "attachNetworkInterface"]) {
        await expect(
          device(name, name === "attachVolume" ? { ...attach, instanceId: container } : { instanceId: container, name: "nic" }),
        ).rejects.toMatchObject({
          extensions: { code: "FAILED_PRECONDITION", reason: "ContainerTakesNoDevices", instanceId: container },
        });
      }
      const micro = await create({ kernel: "vmlinuz" }, InstanceType.MICROVM);
      await expect(device("attachVolume", { ...attach, instanceId: micro })).rejects.toMatchObject({
        extensions: { reason: "HotPlugUnsupported" },
      });
      await expect(
        operator.createInstance({
          name: "c",
          type: InstanceType.CONTAINER,
          spec: { image: "nginx", cpuCores: 1, memoryBytes: GIB, interfaces: [{ name: "nic" }] },
        }),
      ).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "spec.interfaces" } });
      await expect(
        operator.createInstance({
          name: "v",
          type: InstanceType.VM,
          spec: {
            ...VM,
            volumes: [
              { name: "a", pool: "fast", volume: "v" },
              { name: "a", pool: "fast", volume: "w" },
            ],
          },
        }),
      ).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "spec.volumes[1].name" } });
      expect(agent.storage.plugged).toHaveLength(plugs);
    });

    test("one at a time, and a request that is repeated is carried out once", async () => {
      const id = await create();
      await volume("data-4");
      const hold = Promise.withResolvers<void>();
      agent.storage.onPlug = () => hold.promise;
      const input = { instanceId: id, name: "data", pool: "fast", volume: "data-4", clientRequestId: `request of ${id}` };
      const first = await device("attachVolume", input);
      expect((await device("attachVolume", input)).task.id).toBe(first.task.id);
      await expect(device("attachNetworkInterface", { instanceId: id, name: "nic" })).rejects.toMatchObject({
        extensions: { code: "CONFLICT", reason: "TaskUnderWay", taskId: first.task.id, kind: "VOLUME_ATTACH" },
      });
      hold.resolve();
      await untilTask(first.task.id, "SUCCEEDED");
      // Although the volume is there by now.
      expect((await device("attachVolume", input)).task).toEqual({ id: first.task.id, state: "SUCCEEDED" });
      expect((await plane.see(id)).spec.volumes).toHaveLength(1);
    });

    test("an agent that is away is asked again until it is there; what it refuses is the task's failure, and changes nothing", async () => {
      const id = await create();
      await volume("data-5");
      let tries = 0;
      agent.storage.onPlug = async () => {
        tries += 1;
        if (tries < 3) throw new FleetError("UNAVAILABLE", "The connection was cut.");
      };
      const attached = await device("attachVolume", { instanceId: id, name: "data", pool: "fast", volume: "data-5" });
      await untilTask(attached.task.id, "SUCCEEDED");
      agent.storage.onPlug = () =>
        Promise.reject(new FleetError("FAILED_PRECONDITION", "The guest did not let go of it.", { reason: "DeviceBusy" }));
      const { task } = await device("detachVolume", { instanceId: id, name: "data" });
      expect(await untilTask(task.id, "FAILED")).toMatchObject({ error: { code: "FAILED_PRECONDITION", reason: "DeviceBusy" } });
      expect((await plane.see(id)).spec.volumes).toHaveLength(1);
    });

    test("cancelled in the middle, the agent is told to put it back", async () => {
      const id = await create();
      await volume("data-6");
      const reached = Promise.withResolvers<void>();
      agent.storage.onPlug = ({ volumes }) => {
        reached.resolve();
        return volumes.length > 0 ? new Promise(() => undefined) : Promise.resolve();
      };
      const { task } = await device("attachVolume", { instanceId: id, name: "data", pool: "fast", volume: "data-6" });
      await reached.promise;
      await change("operator", "cancelTask", { taskId: task.id }, "task { cancelRequested }");
      await untilTask(task.id, "CANCELLED");
      expect(agent.storage.plugged.at(-1)).toMatchObject({ instanceId: id, volumes: [] });
      expect((await plane.see(id)).spec.volumes).toEqual([]);
      await expect(change("viewer", "cancelTask", { taskId: task.id }, "task { id }")).rejects.toMatchObject({
        extensions: { code: "FORBIDDEN" },
      });
    });

    test("a replica that is stopped in the middle leaves the rest to the next one", async () => {
      const id = await create();
      await volume("data-7");
      const reached = Promise.withResolvers<void>();
      agent.storage.onPlug = () => {
        reached.resolve();
        return new Promise(() => undefined);
      };
      const { task } = await device("attachVolume", { instanceId: id, name: "data", pool: "fast", volume: "data-7" });
      await reached.promise;
      await plane.replica.stop();
      agent.storage.onPlug = null;
      await plane.start();
      operator = await plane.client();
      await untilTask(task.id, "SUCCEEDED");
      expect((await plane.see(id)).spec.volumes).toEqual([{ name: "data", pool: "fast", volume: "data-7", readOnly: false }]);
    });
  });
}

class Refused extends Error {
  constructor(readonly extensions: unknown) {
    super(JSON.stringify(extensions));
  }
}
