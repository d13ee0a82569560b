import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ClustersFleet, type ClustersReplica } from "../../support/clusters-fleet.ts";

const BUF = fileURLToPath(new URL("../../../node_modules/.bin/buf", import.meta.url));

describe("the seed's examples, sent by a client that knows the services by reflection alone", () => {
  let fleet: ClustersFleet;
  let replica: ClustersReplica;
  let token: string;
  let nodeId: string;

  beforeAll(async () => {
    fleet = await ClustersFleet.open("SQLite");
    replica = await fleet.replica();
    token = await fleet.token("admin");
  });
  afterAll(() => fleet?.close());

  function command(method: string, data: string, extra: string[]): [string, string[]] {
    const url = `http://${replica.userAddress}/hypervisor.v1.ClusterService/${method}`;
    return [BUF, ["curl", "--protocol", "grpc", "--http2-prior-knowledge", ...extra, "-d", data, url]];
  }

  // biome-ignore lint/suspicious/noExplicitAny: JSON as buf prints it
  async function curl(method: string, data: string): Promise<any> {
    const { stdout } = await promisify(execFile)(...command(method, data, ["-H", `authorization: Bearer ${token}`]));
    return JSON.parse(stdout);
  }

  test("RegisterNode", async () => {
    const answer = await curl(
      "RegisterNode",
      `{
        "hostname": "compute-node-1",
        "ip": "192.168.1.100",
        "port": 50052,
        "role": "NODE_ROLE_WORKER",
        "capacity": {
          "cpu_cores": 16,
          "memory_bytes": 68719476736,
          "disk_bytes": 536870912000
        },
        "supported_instance_types": ["vm", "container"]
      }`,
    );
    expect(answer).toMatchObject({ nodeId: expect.stringMatching(/^node-/), heartbeatIntervalSeconds: "10", leaseTtlSeconds: "30" });
    nodeId = answer.nodeId;
  });

  test("Heartbeat, with the node that was registered and with the seed's", async () => {
    const beat = (id: string) =>
      curl(
        "Heartbeat",
        `{
          "node_id": "${id}",
          "status": "NODE_STATUS_READY",
          "allocated": {
            "cpu_cores": 8,
            "memory_bytes": 34359738368
          }
        }`,
      );
    expect(await beat(nodeId)).toMatchObject({ accepted: true, nextHeartbeatSeconds: "10" });
    // proto3's JSON leaves false out.
    expect((await beat("node-abc123")).accepted).toBeUndefined();
  });

  test("ListNodes", async () => {
    const answer = await curl(
      "ListNodes",
      `{
        "status": "NODE_STATUS_READY",
        "page_size": 10
      }`,
    );
    expect(answer).toMatchObject({ totalCount: 1, nodes: [{ id: nodeId, hostname: "compute-node-1", allocated: { cpuCores: 8 } }] });
  });

  test("GetClusterInfo", async () => {
    expect(await curl("GetClusterInfo", "{}")).toEqual({
      clusterName: "fleetgraph",
      totalNodes: 1,
      readyNodes: 1,
      totalCapacity: { cpuCores: 16, memoryBytes: "68719476736", diskBytes: "536870912000" },
      totalAllocated: { cpuCores: 8, memoryBytes: "34359738368" },
    });
  });

  test("WatchNodes", async () => {
    const child = execFile(...command("WatchNodes", "{}", ["-H", `authorization: Bearer ${token}`]));
    const opened = Promise.withResolvers<string>();
    let output = "";
    child.stdout?.on("data", (text: string) => {
      output += text;
      if (output.includes("EVENT_TYPE_MODIFIED")) opened.resolve(output);
    });
    // The watch shows what happens from its start on, which shows in nothing but an event.
    const timer = setInterval(() => {
      const status = Date.now() % 2 === 0 ? "NODE_STATUS_READY" : "NODE_STATUS_NOT_READY";
      void curl("Heartbeat", JSON.stringify({ node_id: nodeId, status })).catch(() => undefined);
    }, 500);
    expect(await opened.promise).toContain("compute-node-1");
    clearInterval(timer);
    child.kill();
  });

  test("without a token each is refused", async () => {
    const refused = await promisify(execFile)(...command("ListNodes", "{}", [])).catch((error: { stderr: string }) => error);
    expect(refused.stderr).toContain("unauthenticated");
  });
});
