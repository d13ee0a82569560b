import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createGrpcServer } from "../../../../platform/grpc/server.ts";
import { ServerTls } from "../../../../platform/grpc/server-tls.ts";
import { createLogger } from "../../../../platform/observability/log.ts";
import { Metrics } from "../../../../platform/observability/metrics.ts";
import { temporaryCa } from "../../../support/certificates.ts";

let home: Awaited<ReturnType<typeof temporaryCa>>;
beforeAll(async () => {
  home = await temporaryCa();
});
afterAll(() => home.remove());

const server = (credentials: ServerTls | null = null) =>
  createGrpcServer({ log: createLogger({ name: "test", level: "silent" }), metrics: new Metrics(), authenticate: () => null, credentials });

test("plaintext is served on loopback only", async () => {
  const elsewhere = Object.values(networkInterfaces())
    .flat()
    .find((found) => found?.family === "IPv4" && !found.internal)?.address;
  for (const host of ["0.0.0.0", "[::]", "10.1.2.3", "no-such-host.invalid", ...(elsewhere ? [elsewhere] : [])]) {
    await expect(server().listen(`${host}:0`)).rejects.toMatchObject({ code: "FAILED_PRECONDITION", reason: "PlaintextRefused" });
  }
  for (const host of ["127.0.0.1", "127.0.0.2", "localhost"]) {
    const local = server();
    expect(await local.listen(`${host}:0`)).toBeGreaterThan(0);
    await local.stop(100);
  }
});

test("with TLS it is served anywhere", async () => {
  const tls = new ServerTls({ ...(await home.ca.issueControl("x")), caPem: home.ca.certificatePem, clientCertificates: "required" });
  const open = server(tls);
  expect(await open.listen("0.0.0.0:0")).toBeGreaterThan(0);
  await open.stop(100);
});

test.each(["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "::1:0", "[127.0.0.1]:0", "a b:1", "http://127.0.0.1:1"])(
  "%j is no address",
  async (address) => {
    await expect(server().listen(address)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "address" } });
  },
);

test("a port in use is named", async () => {
  const first = server();
  const port = await first.listen("127.0.0.1:0");
  await expect(server().listen(`127.0.0.1:${port}`)).rejects.toMatchObject({
    code: "FAILED_PRECONDITION",
    message: expect.stringContaining(String(port)),
  });
  await first.stop(100);
});

test("stopping before listening, and twice, does nothing", async () => {
  const idle = server();
  await idle.stop(10);
  await idle.stop(10);
});

test("certificates that cannot be used are refused before anything listens", () => {
  expect(() => new ServerTls({ certificatePem: "x", keyPem: "y", caPem: home.ca.certificatePem, clientCertificates: "none" })).toThrow(
    expect.objectContaining({ code: "FAILED_PRECONDITION" }),
  );
});
