import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { afterAll, afterEach, describe, expect, test } from "vitest";
import type { Place } from "../../../../subgraphs/clusters/services/kubernetes/prometheus/places.ts";
import { PrometheusProbe } from "../../../../subgraphs/clusters/services/kubernetes/prometheus/prometheus-probe.ts";
import { httpsServer, listen } from "../../../support/kubernetes/odd-servers.ts";
import { TestAuthority } from "../../../support/kubernetes/test-authority.ts";

const api = { stream: () => Promise.reject(new Error("The API server was asked.")) };
const never = new AbortController().signal;
const PROMETHEUS = '{"status":"success","data":{"yaml":"global:\\n"}}';

function place(url: string): Place {
  return { namespace: "monitoring", name: "prometheus", match: "NAME", exposure: "LOAD_BALANCER", url, proxyPath: null };
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}

describe("asking whether Prometheus is there", () => {
  const opened = new AsyncDisposableStack();
  const requests: string[] = [];

  async function serve(listener: RequestListener): Promise<string> {
    const server = createServer((request, response) => {
      requests.push(`${request.url} ${request.headers.authorization ?? "without credentials"}`);
      listener(request, response);
    });
    opened.defer(() => stop(server));
    return `http://127.0.0.1:${await listen(server)}`;
  }

  const ask = (url: string, options: { loopback?: boolean; timeoutMs?: number; signal?: AbortSignal } = {}) => {
    const { loopback = true, timeoutMs = 20_000, signal = never } = options;
    return new PrometheusProbe({ api, rules: { loopback }, timeoutMs }).ask(place(url), signal);
  };

  afterEach(() => {
    requests.length = 0;
  });
  afterAll(() => opened.disposeAsync());

  test("one that answers as Prometheus does, also below a path; the rest of the answer is not waited for", async () => {
    const url = await serve((_request, response) => {
      response.setHeader("content-type", "application/json");
      response.write(PROMETHEUS.slice(0, -3) + "x".repeat(4_096));
    });
    expect(await ask(`${url}/prometheus`)).toBeNull();
    expect(requests).toEqual(["/prometheus/api/v1/status/config without credentials"]);
  });

  test("redirects are not followed", async () => {
    const prometheus = await serve((_request, response) => response.end(PROMETHEUS));
    const url = await serve((_request, response) => response.writeHead(302, { location: `${prometheus}/api/v1/status/config` }).end());
    expect(await ask(url)).toBe("It answers with HTTP 302.");
    expect(requests).toHaveLength(1);
  });

  test.each([
    ["a page", 200, "<!doctype html>", "It answers, but not as Prometheus does."],
    ["another success", 200, '{"status":"success","data":{}}', "It answers, but not as Prometheus does."],
    ["nothing", 200, "", "It answers, but not as Prometheus does."],
    ["an error that looks right", 503, PROMETHEUS, "It answers with HTTP 503."],
  ])("%s is not it", async (_, status, body, error) => {
    expect(await ask(await serve((_request, response) => response.writeHead(status).end(body)))).toBe(error);
  });

  test("one that never answers is given up after its time, and one whose answer never begins, too", async () => {
    const silent = await serve(() => undefined);
    expect(await ask(silent, { timeoutMs: 200 })).toBe("No answer within 0.2 s.");
    const slow = await serve((_request, response) => response.writeHead(200).flushHeaders());
    expect(await ask(slow, { timeoutMs: 200 })).toBe("No answer within 0.2 s.");
  });

  test("why a connection failed is told without what a library calls it", async () => {
    const server = createServer();
    const url = `http://127.0.0.1:${await listen(server)}`;
    server.close();
    await once(server, "close");
    expect(await ask(url)).toBe("The connection is refused.");
    const authority = await TestAuthority.create("other");
    const secure = await httpsServer(authority, (_request, response) => response.end(PROMETHEUS));
    opened.defer(() => stop(secure));
    const port = await listen(secure);
    expect(await ask(`https://127.0.0.1:${port}`)).toMatch(/^Its certificate is not accepted \(.*\)\.$/);
    expect(await ask(`http://127.0.0.1:${port}`)).toMatch(/closed before the answer|HTTP/);
  });

  test("this machine is not asked for a cluster elsewhere, by address or by name; metadata addresses never", async () => {
    const url = await serve((_request, response) => response.end(PROMETHEUS));
    const named = url.replace("127.0.0.1", "localhost");
    expect(await ask(named)).toBeNull();
    requests.length = 0;
    for (const one of [url, named, url.replace("127.0.0.1", "[::ffff:127.0.0.1]"), url.replace("127.0.0.1", "2130706433")]) {
      expect(await ask(one, { loopback: false })).toBe("It is this machine's own address.");
    }
    for (const host of ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "0.0.0.0"]) {
      expect(await ask(`http://${host}`)).toBe("Link-local, metadata and multicast addresses are not asked.");
    }
    expect(requests).toEqual([]);
  });

  test("a run that is cancelled ends with why", async () => {
    const cancel = new AbortController();
    const url = await serve(() => cancel.abort(new Error("The cluster was deleted.")));
    await expect(ask(url, { signal: cancel.signal })).rejects.toThrow("The cluster was deleted.");
  });
});
