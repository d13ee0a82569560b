import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ComputeControlPlane } from "../../support/compute-control-plane.ts";

const BUF = fileURLToPath(new URL("../../../node_modules/.bin/buf", import.meta.url));

describe("the seed's examples, sent by a client that knows the service by reflection alone", () => {
  let plane: ComputeControlPlane;
  let token: string;
  let vm: string;

  beforeAll(async () => {
    plane = await ComputeControlPlane.open();
    await plane.start();
    await plane.node("node-1");
    token = await plane.token("operator");
  });
  afterAll(() => plane?.[Symbol.asyncDispose]());

  // biome-ignore lint/suspicious/noExplicitAny: JSON as buf prints it
  async function curl(method: string, data: string): Promise<any> {
    const url = `http://${plane.replica.userAddress}/hypervisor.v1.ComputeService/${method}`;
    const args = ["curl", "--protocol", "grpc", "--http2-prior-knowledge", "-H", `authorization: Bearer ${token}`, "-d", data, url];
    const { stdout } = await promisify(execFile)(BUF, args);
    return JSON.parse(stdout);
  }

  test("CreateInstance: a virtual machine", async () => {
    const made = await curl(
      "CreateInstance",
      `{
        "name": "my-ubuntu-vm",
        "type": "INSTANCE_TYPE_VM",
        "spec": {
          "image": "ubuntu-22.04",
          "cpu_cores": 4,
          "memory_bytes": 8589934592,
          "disks": [
            {
              "name": "root",
              "size_bytes": 53687091200,
              "type": "ssd",
              "boot": true
            }
          ],
          "network": {
            "network_id": "default"
          }
        }
      }`,
    );
    expect(made).toMatchObject({
      id: expect.stringMatching(/^inst-/),
      name: "my-ubuntu-vm",
      type: "INSTANCE_TYPE_VM",
      state: "INSTANCE_STATE_CREATING",
      spec: {
        image: "ubuntu-22.04",
        cpuCores: 4,
        memoryBytes: "8589934592",
        disks: [{ name: "root", sizeBytes: "53687091200", type: "ssd", boot: true }],
      },
      nodeId: "node-1",
      createdAt: expect.any(String),
    });
    vm = made.id;
    await plane.untilState(vm, "RUNNING");
  });

  test("CreateInstance: a container", async () => {
    const made = await curl(
      "CreateInstance",
      `{
        "name": "nginx-container",
        "type": "INSTANCE_TYPE_CONTAINER",
        "spec": {
          "image": "nginx:latest",
          "cpu_cores": 1,
          "memory_bytes": 536870912,
          "command": ["nginx", "-g", "daemon off;"]
        }
      }`,
    );
    expect(made).toMatchObject({ type: "INSTANCE_TYPE_CONTAINER", spec: { command: ["nginx", "-g", "daemon off;"] } });
    await plane.untilState(made.id, "RUNNING");
  });

  test("ListInstances", async () => {
    const { instances, totalCount } = await curl(
      "ListInstances",
      `{
        "type": "INSTANCE_TYPE_VM",
        "state": "INSTANCE_STATE_RUNNING",
        "page_size": 20
      }`,
    );
    expect(instances.map(({ id }: { id: string }) => id)).toEqual([vm]);
    expect(totalCount).toBe(1);
  });

  test("GetInstanceStats", async () => {
    const stats = await curl("GetInstanceStats", `{"instance_id": "${vm}"}`);
    expect(stats).toMatchObject({
      instanceId: vm,
      cpuUsagePercent: 12.5,
      memoryUsageBytes: "1000",
      diskReadBytes: "2000",
      networkTxBytes: "5000",
    });
  });

  test("RestartInstance, StopInstance, StartInstance", async () => {
    expect(await curl("RestartInstance", `{"instance_id": "${vm}"}`)).toMatchObject({ state: "INSTANCE_STATE_RESTARTING" });
    await plane.untilState(vm, "RUNNING");
    expect(await curl("StopInstance", `{"instance_id": "${vm}", "force": false}`)).toMatchObject({ state: "INSTANCE_STATE_STOPPING" });
    await plane.untilState(vm, "STOPPED");
    expect(await curl("StartInstance", `{"instance_id": "${vm}"}`)).toMatchObject({ state: "INSTANCE_STATE_STARTING" });
    await plane.untilState(vm, "RUNNING");
  });
});
