import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { serveGraphiql } from "../../../gateway/server/graphiql.ts";

describe("the files of GraphiQL", () => {
  let folder: string;
  let server: Server;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "fleetgraph-graphiql-"));
    mkdirSync(join(folder, "bundle", "assets"), { recursive: true });
    writeFileSync(join(folder, "bundle", "index.html"), "<p>page</p>");
    writeFileSync(join(folder, "bundle", "assets", "page-abc.js"), "plain");
    writeFileSync(join(folder, "bundle", "assets", "page-abc.js.gz"), gzipSync("plain"));
    writeFileSync(join(folder, "secret.js"), "secret");
    server = createServer((request, response) => {
      const bundle = request.headers["x-bundle"] === "none" ? join(folder, "nothing") : join(folder, "bundle");
      if (!serveGraphiql(request, response, bundle)) response.writeHead(404).end("not GraphiQL's");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });

  afterAll(async () => {
    await new Promise((resolve) => server.close(resolve));
    rmSync(folder, { recursive: true });
  });

  /** Sends the path as it is written, without the normalisation that fetch does. */
  function get(path: string, headers: Record<string, string> = {}, method = "GET") {
    const { port } = server.address() as AddressInfo;
    return new Promise<{ status: number | undefined; headers: IncomingHttpHeaders; body: Buffer }>((resolve, reject) => {
      const sent = httpRequest({ host: "127.0.0.1", port, path, method, headers, agent: false }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }));
      });
      sent.on("error", reject);
      sent.end();
    });
  }

  test("the page is served at / and never cached, and may only talk to its own origin", async () => {
    const answer = await get("/?query=x");
    expect(answer.status).toBe(200);
    expect(answer.body.toString()).toBe("<p>page</p>");
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(answer.headers["content-security-policy"]).toContain("default-src 'none'");
    expect(answer.headers["content-security-policy"]).toContain("connect-src 'self'");
    expect(answer.headers["content-security-policy"]).not.toMatch(/https?:|script-src[^;]*unsafe/);
  });

  test("assets are kept for good by browsers, compressed where the client takes it", async () => {
    const plain = await get("/assets/page-abc.js");
    expect(plain.body.toString()).toBe("plain");
    expect(plain.headers["content-type"]).toBe("text/javascript; charset=utf-8");
    expect(plain.headers["cache-control"]).toContain("immutable");
    const packed = await get("/assets/page-abc.js", { "accept-encoding": "gzip, br" });
    expect(packed.headers["content-encoding"]).toBe("gzip");
    expect(packed.body).toEqual(gzipSync("plain"));
  });

  test("HEAD has the headers of GET and no body", async () => {
    const answer = await get("/assets/page-abc.js", {}, "HEAD");
    expect(answer.headers["content-length"]).toBe("5");
    expect(answer.body.length).toBe(0);
  });

  test("nothing outside the bundle is served, and other paths and methods are left to the server", async () => {
    const paths = [
      "/assets/../../secret.js",
      "/assets/..%2f..%2fsecret.js",
      "/../secret.js",
      "/assets/",
      "/assets/missing.js",
      "/other",
      "/assets/page-abc.js.gz",
    ];
    for (const path of paths) expect((await get(path)).status, path).toBe(404);
    expect((await get("/", {}, "POST")).status).toBe(404);
  });

  test("a page that is not built yet says so and reloads itself", async () => {
    const answer = await get("/", { "x-bundle": "none" });
    expect(answer.status).toBe(503);
    expect(answer.body.toString()).toContain('http-equiv="refresh"');
  });
});
