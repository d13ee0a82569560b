import { createServer, type RequestListener } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { createServer as createNetServer, type Server } from "node:net";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { createLogger } from "../../../../platform/observability/log.ts";
import { type ConnectionTestOptions, testConnection } from "../../../../subgraphs/kit/kubernetes/connection-test.ts";
import { parseKubeconfig } from "../../../../subgraphs/kit/kubernetes/kubeconfig.ts";
import { type ConnectionStep, KubernetesFailure } from "../../../../subgraphs/kit/kubernetes/types.ts";
import { type KubeconfigOptions, writeKubeconfig } from "../../../support/kubernetes/kubeconfig.ts";
import { HangingServer, type HangsAfter, httpsServer, listen, NotKubernetes } from "../../../support/kubernetes/odd-servers.ts";
import { TestAuthority } from "../../../support/kubernetes/test-authority.ts";
import { BusyListener, OpensslServer } from "./odd-processes.ts";

const log = createLogger({ name: "test", level: "silent" });
const TOKEN = "a-token-that-nobody-may-see";

type Attempt = KubeconfigOptions & { server: string; test?: Partial<ConnectionTestOptions> };

/** Tests a connection that fails, and gives how; it must hold no secret, no address, and be over within its deadline. */
async function failureOf({ test = {}, ...options }: Attempt): Promise<KubernetesFailure> {
  const access = parseKubeconfig(writeKubeconfig({ credentials: { token: TOKEN }, ...options })).access(null);
  const timeoutMs = test.timeoutMs ?? 5_000;
  const begun = performance.now();
  const failure = await testConnection(access, { log, signal: new AbortController().signal, ...test, timeoutMs }).then(
    () => expect.unreachable("it connected"),
    (error: unknown) => error,
  );
  expect(performance.now() - begun).toBeLessThan(timeoutMs + 1_000);
  if (!(failure instanceof KubernetesFailure)) throw failure;
  const shown = failure.message + JSON.stringify(failure.details);
  expect(shown).not.toContain(TOKEN);
  expect(shown).not.toContain(new URL(options.server).hostname);
  expect(failure.details["step"]).toBe(failure.step);
  return failure;
}

function asShown({ code, step, reason }: KubernetesFailure) {
  return { code, step, reason };
}

function unavailable(step: ConnectionStep, reason: string) {
  return { code: "UNAVAILABLE", step, reason };
}

describe("a connection to what is no cluster", () => {
  const ending: AsyncDisposable[] = [];
  let authority: TestAuthority;

  beforeAll(async () => {
    authority = await TestAuthority.create();
  });

  afterEach(async () => {
    for (const resource of ending.splice(0).reverse()) await resource[Symbol.asyncDispose]();
  });

  function later<T extends AsyncDisposable>(resource: T): T {
    ending.push(resource);
    return resource;
  }

  /** Listens until the test ends. Gives the port. */
  async function listening(server: Server): Promise<number> {
    const port = await listen(server);
    later({ [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) });
    return port;
  }

  it("a name that does not resolve", async () => {
    const failure = await failureOf({ server: "https://no-such-cluster.invalid:6443" });
    expect(asShown(failure)).toEqual(unavailable("DNS", "DnsFailed"));
    expect(failure.message).toMatch(/name cannot be resolved/);
  });

  it("a name server that says nothing", async () => {
    const lookup = () => new Promise<never>(() => {});
    const failure = await failureOf({ server: "https://cluster.example:6443", test: { timeoutMs: 300, lookup } });
    expect(asShown(failure)).toEqual(unavailable("DNS", "DnsFailed"));
    expect(failure.message).toMatch(/within 0.3 s/);
  });

  it("a port where nobody listens", async () => {
    const server = createNetServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    expect(asShown(await failureOf({ server: `https://127.0.0.1:${port}` }))).toEqual(unavailable("TCP", "ConnectionRefused"));
  });

  it("an address whose packets are dropped", async () => {
    const busy = later(await BusyListener.start());
    const failure = await failureOf({ server: `https://127.0.0.1:${busy.port}`, test: { timeoutMs: 500 } });
    expect(asShown(failure)).toEqual(unavailable("TCP", "ConnectTimeout"));
  });

  it.each<[HangsAfter, ReturnType<typeof unavailable>, RegExp]>([
    ["connection", unavailable("TLS", "TlsFailed"), /did not finish the TLS handshake within 0.5 s/],
    ["handshake", unavailable("VERSION", "RequestTimeout"), /did not answer within 0.5 s/],
    ["headers", unavailable("VERSION", "RequestTimeout"), /did not answer within 0.5 s/],
  ])("a socket that hangs after its %s", async (after, expected, words) => {
    const server = later(await HangingServer.start(after));
    const failure = await failureOf({ server: server.url, caPem: server.caPem, test: { timeoutMs: 500 } });
    expect(asShown(failure)).toEqual(expected);
    expect(failure.message).toMatch(words);
    await expect.poll(() => server.open).toBe(0);
  });

  it("a server that hangs up before the handshake", async () => {
    const port = await listening(createNetServer((socket) => socket.destroy()));
    expect(asShown(await failureOf({ server: `https://127.0.0.1:${port}` }))).toEqual(unavailable("TLS", "TlsFailed"));
  });

  it("a server that hangs up instead of answering", async () => {
    let requests = 0;
    const other = later(
      await NotKubernetes.start({
        answer: (request) => {
          requests += 1;
          request.socket.destroy();
        },
      }),
    );
    expect(asShown(await failureOf({ server: other.url, caPem: other.caPem }))).toEqual(unavailable("VERSION", "ConnectionLost"));
    expect(requests).toBe(2);
  });

  it("a server of plain HTTP", async () => {
    const other = later(await NotKubernetes.start({ tls: false }));
    const failure = await failureOf({ server: other.url });
    expect(asShown(failure)).toEqual(unavailable("TLS", "TlsFailed"));
    expect(failure.message).toMatch(/does not speak TLS/);
  });

  it.each<[string, RequestListener]>([
    ["pages", (_request, response) => response.setHeader("content-type", "text/html").end("<!doctype html>")],
    ["other JSON", (_request, response) => response.end('{"name":"search","version":{"number":"8.1"}}')],
    ["no such page", (_request, response) => response.writeHead(404).end("404 page not found")],
    ["a login elsewhere", (_request, response) => response.writeHead(302, { location: "https://login.example/" }).end()],
    ["an endless answer", (_request, response) => response.end(`{"gitVersion":"${"v".repeat(100_000)}"}`)],
  ])("a web server that answers %s", async (_what, answer) => {
    const other = later(await NotKubernetes.start({ answer }));
    expect(asShown(await failureOf({ server: other.url, caPem: other.caPem }))).toEqual(unavailable("VERSION", "NotKubernetes"));
  });

  it("a server that speaks something else over TLS", async () => {
    const server = await httpsServer(authority, () => {});
    server.removeAllListeners("secureConnection");
    server.on("secureConnection", (socket) =>
      socket
        .on("error", () => {})
        .resume()
        .end("220 mail.example ESMTP\r\n"),
    );
    const port = await listening(server);
    const failure = await failureOf({ server: `https://127.0.0.1:${port}`, caPem: authority.caPem });
    expect(asShown(failure)).toEqual(unavailable("VERSION", "NotKubernetes"));
  });

  it("a redirect is not followed, so that the token stays here", async () => {
    let visits = 0;
    const thief = later(
      await NotKubernetes.start({
        answer: (_request, response) => {
          visits += 1;
          response.end("{}");
        },
      }),
    );
    const other = later(
      await NotKubernetes.start({ answer: (_request, response) => response.writeHead(307, { location: `${thief.url}/version` }).end() }),
    );
    await failureOf({ server: other.url, caPem: other.caPem });
    expect(visits).toBe(0);
  });

  it.each([
    ["an expired", { notAfter: new Date(Date.now() - 1_000) }, "CertificateExpired"],
    ["a future", { notBefore: new Date(Date.now() + 600_000) }, "CertificateExpired"],
    ["another host's", { names: ["other.example"] }, "CertificateNameMismatch"],
  ])("a server with %s certificate", async (_what, odd, reason) => {
    const { certificatePem, keyPem } = await authority.sign({ commonName: "server", names: ["127.0.0.1"], ...odd });
    const server = createHttpsServer({ cert: certificatePem, key: keyPem });
    const port = await listening(server);
    const failure = await failureOf({ server: `https://127.0.0.1:${port}`, caPem: authority.caPem });
    expect(asShown(failure)).toEqual(unavailable("TLS", reason));
  });

  it.each([
    ["of another authority", async () => (await TestAuthority.create("other")).caPem],
    ["of none that the system knows", async () => null],
  ])("a server with a certificate %s", async (_what, caPem) => {
    const other = later(await NotKubernetes.start());
    const failure = await failureOf({ server: other.url, caPem: await caPem() });
    expect(asShown(failure)).toEqual(unavailable("TLS", "CertificateUntrusted"));
    expect(failure.message).toMatch(/certificate-authority-data/);
  });

  it.each(["-tls1_3", "-tls1_2"])("a server that refuses the client's certificate by itself (%s)", async (version) => {
    const server = later(await OpensslServer.start(authority, version));
    const stranger = await (await TestAuthority.create("stranger")).sign({ commonName: "me" });
    const failure = await failureOf({ server: `https://127.0.0.1:${server.port}`, caPem: authority.caPem, credentials: stranger });
    expect(asShown(failure)).toEqual(unavailable("TLS", "ClientCertificateRefused"));
  });

  it("a proxy that does not connect", async () => {
    const proxy = createServer();
    proxy.on("connect", (_request, socket) => socket.end("HTTP/1.1 403 Forbidden\r\n\r\n"));
    const port = await listening(proxy);
    const failure = await failureOf({ server: "https://10.255.255.1:6443", cluster: { "proxy-url": `http://127.0.0.1:${port}` } });
    expect(asShown(failure)).toEqual(unavailable("TCP", "ProxyFailed"));
  });

  it("a proxy that says nothing", async () => {
    const proxy = createServer();
    proxy.on("connect", (_request, socket) => later({ [Symbol.asyncDispose]: async () => void socket.destroy() }));
    const port = await listening(proxy);
    const cluster = { "proxy-url": `http://127.0.0.1:${port}` };
    const failure = await failureOf({ server: "https://10.255.255.1:6443", cluster, test: { timeoutMs: 500 } });
    expect(asShown(failure)).toEqual(unavailable("TCP", "ConnectTimeout"));
  });

  it("is left at once with its signal", async () => {
    const server = later(await HangingServer.start());
    const access = parseKubeconfig(writeKubeconfig({ server: server.url, caPem: server.caPem })).access(null);
    const over = new AbortController();
    const testing = testConnection(access, { log, signal: over.signal });
    await expect.poll(() => server.taken).toBe(1);
    over.abort();
    await expect(testing).rejects.toMatchObject({ code: "CANCELLED" });
    await expect.poll(() => server.open).toBe(0);
  });
});
