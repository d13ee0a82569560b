import { execFile } from "node:child_process";
import { copyFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ComputeFleet } from "../support/compute-fleet.ts";
import { type FleetHost, hostTruth, virsh } from "../support/fleet-host.ts";
import { describeWithPeers } from "../support/peers.ts";
import type { ResumingClient } from "../support/resuming-client.ts";
import { GUEST_COMMAND_LINE } from "../support/tiny-guest.ts";
import { until } from "../support/until.ts";

const BUF = fileURLToPath(new URL("../../node_modules/.bin/buf", import.meta.url));
const MIB = 2 ** 20;
const WATCH = `subscription ($after: String, $snapshot: Boolean) {
  instanceEvents(after: $after, snapshot: $snapshot) {
    type cursor
    instance { id name state stateReason ipAddress node { hostname status hardware { cpu { threads } } } }
  }
}`;
const STATS = `subscription ($id: ID!) {
  instanceStats(instanceId: $id, intervalSeconds: 1) { cpuUsagePercent memoryUsageBytes diskReadBytes diskWriteBytes }
}`;

interface SeenInstance {
  id: string;
  state: string;
  stateReason: string | null;
  node: { hostname: string; status: string; hardware: { cpu: { threads: number } } } | null;
}

describeWithPeers("instances on a host", ["network-namespaces", "libvirt", "podman"], () => {
  let fleet: ComputeFleet;
  let host: FleetHost;
  let watch: ResumingClient;

  beforeAll(async () => {
    fleet = await ComputeFleet.start({ hosts: [{}] });
    [host] = fleet.hosts as [FleetHost];
    watch = fleet.watch(WATCH, "instanceEvents");
    await watch.until((events) => events.some(({ type }) => type === "BOOKMARK"), 30_000);
  }, 180_000);

  afterAll(() => fleet?.stop());

  /** The states of an instance as the watch told them, without repeats. */
  function statesOf(id: string): string[] {
    const states = watch.events.flatMap(({ instance }) => {
      const seen = instance as SeenInstance | null;
      return seen?.id === id ? [seen.state] : [];
    });
    return states.filter((state, index) => state !== states[index - 1]);
  }

  async function cpuSamples(id: string, enough: (percent: number) => boolean): Promise<number[]> {
    const samples: number[] = [];
    for await (const { instanceStats } of fleet.stream(STATS, { id })) {
      samples.push(instanceStats.cpuUsagePercent as number);
      if (enough(samples.at(-1) ?? 0) || samples.length > 30) break;
    }
    return samples;
  }

  const bootable = { image: "tiny", kernel: "tiny-kernel", initrd: "tiny-initrd", cpuCores: 1, memoryBytes: 128 * MIB };
  const cases = [
    {
      type: "VM",
      spec: {
        ...bootable,
        kernelArgs: `${GUEST_COMMAND_LINE} guest.busy=40`,
        disks: [{ name: "root", sizeBytes: 80 * MIB, type: "ssd", boot: true }],
      },
    },
    {
      type: "MICROVM",
      spec: { ...bootable, kernelArgs: `${GUEST_COMMAND_LINE} guest.busy=40`, network: { networkId: "none" } },
    },
    {
      type: "CONTAINER",
      spec: {
        image: "localhost/busybox:latest",
        cpuCores: 1,
        memoryBytes: 64 * MIB,
        command: [
          "/bin/sh",
          "-c",
          "trap 'exit 0' TERM; i=0; while [ $i -lt 3000000 ]; do i=$((i+1)); done; while true; do sleep 1 & wait $!; done",
        ],
        env: [{ key: "GREETING", value: "hello" }],
      },
    },
  ];

  test.each(cases)(
    "$type: made by one mutation, seen through all subgraphs, measured, stopped and deleted",
    async ({ type, spec }) => {
      const input = { name: `an-${type.toLowerCase()}`, type, spec, clientRequestId: `first-${type}` };
      const { id, state } = await fleet.change("createInstance", input);
      expect(state).toBe("CREATING");
      // Who asks again, because the answer was lost, gets the same one.
      expect((await fleet.change("createInstance", input)).id).toBe(id);

      await fleet.untilState(id, "RUNNING");
      await watch.until(() => statesOf(id).includes("RUNNING"), 30_000);
      expect(statesOf(id)).toEqual(["CREATING", "STARTING", "RUNNING"]);
      const seen = watch.events.map(({ instance }) => instance as SeenInstance | null).findLast((instance) => instance?.id === id);
      expect(seen?.node).toEqual({ hostname: host.hostname, status: "READY", hardware: { cpu: { threads: expect.any(Number) } } });
      const truth = await hostTruth(host);
      expect(type === "CONTAINER" ? truth.containers : truth.domains).toEqual([id]);

      const samples = await cpuSamples(id, (percent) => percent > 50);
      expect(samples.at(-1), `samples: ${samples}`).toBeGreaterThan(50);

      await fleet.change("stopInstance", { instanceId: id, timeoutSeconds: 45 });
      const stopped = await fleet.untilState(id, "STOPPED");
      expect(stopped.stateReason).toBe("REQUESTED");
      await watch.until(() => statesOf(id).includes("STOPPED"), 30_000);
      expect(statesOf(id).slice(-2)).toEqual(["STOPPING", "STOPPED"]);

      await fleet.change("deleteInstance", { instanceId: id });
      await fleet.untilState(id, "DELETED");
      await watch.until(
        (events) => events.some((event) => event.type === "DELETED" && (event["instance"] as SeenInstance)?.id === id),
        30_000,
      );
      expect(await hostTruth(host)).toEqual({ domains: [], containers: [], files: [], filters: [] });
    },
    180_000,
  );

  test("a VM on the default network has an address, which is told as an event", async () => {
    const spec = { ...bootable, kernelArgs: GUEST_COMMAND_LINE, network: { networkId: "default" } };
    const { id } = await fleet.change("createInstance", { name: "addressed", type: "VM", spec });
    await watch.until(
      (events) =>
        events.some(({ instance }) => {
          const seen = instance as { id: string; ipAddress: string | null } | null;
          return seen?.id === id && /^192\.168\.\d+\.\d+$/.test(seen.ipAddress ?? "");
        }),
      60_000,
    );
    await fleet.change("deleteInstance", { instanceId: id, force: true });
    await fleet.untilState(id, "DELETED");
  }, 120_000);

  test("what this host cannot do is refused by name, and nothing is left", async () => {
    const wrong = async (spec: Record<string, unknown>, type = "VM") => {
      const { id } = await fleet.change("createInstance", { name: "wrong", type, spec: { ...bootable, ...spec } });
      await fleet.untilState(id, "ERROR");
      const { instance } = await fleet.query("query ($id: ID!) { instance(id: $id) { stateReason errorMessage } }", { id });
      await fleet.change("deleteInstance", { instanceId: id });
      await fleet.untilState(id, "DELETED");
      return instance.stateReason;
    };
    expect(await wrong({ image: "no-such-image" })).toBe("ImageNotFound");
    expect(await wrong({ network: { networkId: "no-such-network" } })).toBe("NetworkNotFound");
    expect(await wrong({ network: { networkId: "default", assignPublicIp: true } })).toBe("NoPublicNetwork");
    expect(await hostTruth(host)).toEqual({ domains: [], containers: [], files: [], filters: [] });
  }, 120_000);

  test("what others made is listed and not touched, until an admin adopts it", async () => {
    const file = join(fleet.directory, "foreign.xml");
    await writeFile(file, '<domain type="qemu"><name>foreign</name><memory>65536</memory><os><type machine="q35">hvm</type></os></domain>');
    await virsh(host, "define", file);
    const found = "{ instances(filter: { managed: false }) { nodes { id name type state managed node { hostname } } } }";
    await expect
      .poll(async () => (await fleet.query(found)).instances.nodes, { timeout: 20_000, interval: 200 })
      .toEqual([
        { id: expect.any(String), name: "foreign", type: "VM", state: "STOPPED", managed: false, node: { hostname: host.hostname } },
      ]);
    const [{ id }] = (await fleet.query(found)).instances.nodes;
    const start = "mutation ($id: ID!) { startInstance(input: { instanceId: $id }) { instance { id } } }";
    const { errors } = await fleet.ask(start, { id });
    expect(errors?.[0]?.extensions).toMatchObject({ code: "FAILED_PRECONDITION", reason: "InstanceUnmanaged" });

    expect(await fleet.change("adoptInstance", { instanceId: id }, "id state managed")).toMatchObject({ id, managed: true });
    await fleet.change("startInstance", { instanceId: id });
    await fleet.untilState(id, "RUNNING");
    expect(await virsh(host, "domstate", "foreign")).toContain("running");
    await fleet.change("deleteInstance", { instanceId: id, force: true });
    await fleet.untilState(id, "DELETED");
    expect((await hostTruth(host)).domains).toEqual([]);
  }, 120_000);

  test("the seed's examples by gRPC, sent by a client that knows the service by reflection alone", async () => {
    const token = fleet.token;
    const curl = async (method: string, data: unknown) => {
      const url = `http://${fleet.grpcAddress}/hypervisor.v1.ComputeService/${method}`;
      const args = [
        "curl",
        "--protocol",
        "grpc",
        "--http2-prior-knowledge",
        "-H",
        `authorization: Bearer ${token}`,
        "-d",
        JSON.stringify(data),
        url,
      ];
      const { stdout } = await promisify(execFile)(BUF, args, { timeout: 30_000 });
      return stdout.trim() === "" ? {} : JSON.parse(stdout);
    };
    await copyFile(join(host.host.imageDirectory, "tiny.qcow2"), join(host.host.imageDirectory, "ubuntu-22.04.qcow2"));
    await host.host.podman.podman("tag", "localhost/busybox:latest", "docker.io/library/nginx:latest");

    const vm = await curl("CreateInstance", {
      name: "my-ubuntu-vm",
      type: "INSTANCE_TYPE_VM",
      spec: {
        image: "ubuntu-22.04",
        cpu_cores: 4,
        memory_bytes: 8589934592,
        disks: [{ name: "root", size_bytes: 53687091200, type: "ssd", boot: true }],
        network: { network_id: "default" },
      },
    });
    expect(vm).toMatchObject({ id: expect.stringMatching(/^inst-/), state: "INSTANCE_STATE_CREATING", nodeId: host.nodeId });
    const container = await curl("CreateInstance", {
      name: "nginx-container",
      type: "INSTANCE_TYPE_CONTAINER",
      // The image stands for nginx's: its command is another.
      spec: {
        image: "nginx:latest",
        cpu_cores: 1,
        memory_bytes: 536870912,
        command: ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 1; done"],
      },
    });
    await fleet.untilState(vm.id, "RUNNING", 90_000);
    await fleet.untilState(container.id, "RUNNING");

    const listed = await curl("ListInstances", { type: "INSTANCE_TYPE_VM", state: "INSTANCE_STATE_RUNNING", page_size: 20 });
    expect(listed.instances.map(({ id }: { id: string }) => id)).toEqual([vm.id]);
    expect(await curl("GetInstanceStats", { instance_id: vm.id })).toMatchObject({
      instanceId: vm.id,
      memoryUsageBytes: expect.stringMatching(/^\d+$/),
    });

    expect(await curl("StopInstance", { instance_id: container.id, force: false })).toMatchObject({ state: "INSTANCE_STATE_STOPPING" });
    await fleet.untilState(container.id, "STOPPED");
    expect(await curl("StartInstance", { instance_id: container.id })).toMatchObject({ state: "INSTANCE_STATE_STARTING" });
    await fleet.untilState(container.id, "RUNNING");
    expect(await curl("RestartInstance", { instance_id: container.id })).toMatchObject({ state: "INSTANCE_STATE_RESTARTING" });
    await fleet.untilState(container.id, "RUNNING");

    await curl("DeleteInstance", { instance_id: vm.id, force: true });
    await curl("DeleteInstance", { instance_id: container.id, force: true });
    await fleet.untilState(vm.id, "DELETED");
    await fleet.untilState(container.id, "DELETED");
    await until(async () => JSON.stringify(Object.values(await hostTruth(host)).flat()) === "[]", "a host with nothing left", 20_000);
  }, 240_000);
});
