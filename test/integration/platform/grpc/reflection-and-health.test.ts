import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { service as healthDefinition } from "grpc-health-check";
import { createClient } from "nice-grpc";
import { describe, expect, test } from "vitest";
import { authenticateByToken } from "../../../../platform/grpc/authenticate.ts";
import { createGrpcChannel } from "../../../../platform/grpc/channel.ts";
import { grpcPair } from "../../../support/grpc-pair.ts";

const root = fileURLToPath(new URL("../../../../", import.meta.url));

/** The real client that the documentation's examples use; it knows nothing of the contracts but what reflection tells. */
async function buf(...args: string[]): Promise<{ out: string; failed: boolean }> {
  const program = `${root}node_modules/.bin/buf`;
  return promisify(execFile)(program, args, { cwd: root, timeout: 30_000 }).then(
    ({ stdout }) => ({ out: stdout, failed: false }),
    (error: { stdout: string; stderr: string }) => ({ out: error.stdout + error.stderr, failed: true }),
  );
}
const curl = (...args: string[]) => buf("curl", "--protocol", "grpc", "--http2-prior-knowledge", ...args);

describe("buf curl", () => {
  const verifier = { verify: async () => ({ kind: "user", subject: "ann", role: "viewer", expiresAt: Date.now() + 60_000 }) as const };
  const methods = {
    getClusterInfo: async (_request: unknown, { fleet }: { fleet: { identity: unknown } }) => ({
      clusterName: JSON.stringify(fleet.identity),
    }),
    async *watchNodes() {
      yield { cursor: "1" };
      yield { cursor: "2" };
    },
  };

  test("calls by reflection, with a token", async () => {
    await using pair = await grpcPair(methods, { authenticate: authenticateByToken(verifier) });
    const url = `http://127.0.0.1:${pair.port}`;
    const { out } = await curl(`${url}/hypervisor.v1.ClusterService/GetClusterInfo`, "-d", "{}", "-H", "authorization: Bearer x.y.z");
    expect(JSON.parse(JSON.parse(out).clusterName)).toMatchObject({ subject: "ann" });
    const watched = await curl(`${url}/hypervisor.v1.ClusterService/WatchNodes`, "-d", "{}");
    expect(watched.out.replace(/\s/g, "")).toBe('{"cursor":"1"}{"cursor":"2"}');
    const refused = await curl(`${url}/hypervisor.v1.ClusterService/GetClusterInfo`, "-d", "{}", "-H", "authorization: Basic x");
    expect(refused).toMatchObject({ failed: true, out: expect.stringContaining("unauthenticated") });
  });

  test("lists what is served, and nothing else of the contracts", async () => {
    await using pair = await grpcPair(methods);
    const { out } = await curl("--list-methods", `http://127.0.0.1:${pair.port}`);
    const services = new Set(
      out
        .trim()
        .split("\n")
        .map((line) => line.split("/")[0]),
    );
    expect([...services].sort()).toEqual([
      "grpc.health.v1.Health",
      "grpc.reflection.v1.ServerReflection",
      "grpc.reflection.v1alpha.ServerReflection",
      "hypervisor.v1.ClusterService",
    ]);
  });

  test("asks the standard health service, without a token", async () => {
    await using pair = await grpcPair(methods);
    const url = `http://127.0.0.1:${pair.port}/grpc.health.v1.Health/Check`;
    expect(JSON.parse((await curl(url, "-d", "{}")).out)).toEqual({ status: "SERVING" });
    pair.server.setServing("hypervisor.v1.ClusterService", false);
    expect(JSON.parse((await curl(url, "-d", '{"service":"hypervisor.v1.ClusterService"}')).out)).toEqual({ status: "NOT_SERVING" });
    expect(await curl(url, "-d", '{"service":"nothing"}')).toMatchObject({ failed: true, out: expect.stringContaining("not_found") });
  });
});

describe("a health watch", () => {
  test("tells every change, and ends when the server stops", async () => {
    await using pair = await grpcPair({});
    const channel = createGrpcChannel(pair.address);
    const client = createClient(healthDefinition, channel) as unknown as {
      Watch(request: { service: string }): AsyncIterable<{ status: string }>;
    };
    const seen: string[] = [];
    for await (const { status } of client.Watch({ service: "" })) {
      seen.push(status);
      if (seen.length === 1) pair.server.setServing("", false);
      if (seen.length === 2) pair.server.setServing("", true);
      if (seen.length === 3) await pair.server.stop(2000);
    }
    expect(seen).toEqual(["SERVING", "NOT_SERVING", "SERVING", "NOT_SERVING"]);
    channel.close();
  });
});

test("the descriptors of health and reflection are those of the packages", async () => {
  const folders = [
    ["node_modules/grpc-health-check/proto"],
    ["node_modules/@grpc/reflection/build/proto", "--path", "node_modules/@grpc/reflection/build/proto/grpc"],
  ];
  const built = await Promise.all(
    folders.map(async (args) => {
      const program = `${root}node_modules/.bin/buf`;
      const command = ["build", ...args, "--as-file-descriptor-set", "--exclude-source-info", "-o", "-"];
      return (await promisify(execFile)(program, command, { cwd: root, encoding: "buffer" })).stdout;
    }),
  );
  // Sets of descriptors are joined by putting one behind the other.
  expect(await readFile(`${root}schema/generated/grpc-services.binpb`)).toEqual(Buffer.concat(built));
});
