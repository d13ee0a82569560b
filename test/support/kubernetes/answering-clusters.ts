import type { IncomingMessage, ServerResponse } from "node:http";
import { NotKubernetes } from "./odd-servers.ts";

/**
 * Simulates any number of small clusters behind one HTTPS port, each below a path of its own: they tell their version, have one ready node and
 * no pods, and watches that say nothing. For tests of how many clusters are asked when; what a real API server says, TestKubernetes tells.
 */
export class AnsweringClusters implements AsyncDisposable {
  readonly #server: NotKubernetes;
  readonly #asked: Map<string, number>;

  private constructor(server: NotKubernetes, asked: Map<string, number>) {
    this.#server = server;
    this.#asked = asked;
  }

  static async start(): Promise<AnsweringClusters> {
    const asked = new Map<string, number>();
    return new AnsweringClusters(await NotKubernetes.start({ answer: (request, response) => answer(asked, request, response) }), asked);
  }

  get caPem(): string {
    return this.#server.caPem;
  }

  /** Where the cluster of this name is. */
  server(name: string): string {
    return `${this.#server.url}/${name}`;
  }

  /** How often the cluster was asked for its version. */
  asked(name: string): number {
    return this.#asked.get(name) ?? 0;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#server[Symbol.asyncDispose]();
  }
}

const NODE = {
  metadata: { name: "one", uid: "one", resourceVersion: "1" },
  status: { conditions: [{ type: "Ready", status: "True" }] },
};

function answer(asked: Map<string, number>, { url = "" }: IncomingMessage, response: ServerResponse): void {
  const [, name = "", path = ""] = /^\/([^/]+)(\/[^?]*)/.exec(url) ?? [];
  response.setHeader("content-type", "application/json");
  if (path === "/version") {
    asked.set(name, (asked.get(name) ?? 0) + 1);
    response.end(JSON.stringify({ major: "1", minor: "31", gitVersion: "v1.31.4", platform: "linux/amd64" }));
  } else if (url.includes("watch=")) {
    response.flushHeaders();
  } else {
    const items = path.endsWith("/nodes") ? [NODE] : [];
    response.end(JSON.stringify({ kind: "List", apiVersion: "v1", metadata: { resourceVersion: "1" }, items }));
  }
}
