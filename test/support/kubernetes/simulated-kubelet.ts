import { once } from "node:events";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { httpsServer, listen } from "./odd-servers.ts";
import { TestAuthority } from "./test-authority.ts";

interface LogLine {
  at: Date;
  text: string;
}

/** What one container wrote. */
interface ContainerLog {
  lines: LogLine[];
  /** Of the container before it. */
  previous: LogLine[];
  ended: boolean;
  followers: Set<(line: LogLine | null) => void>;
}

/** Which container: its pod is in the API server, bound to a node at `SimulatedKubelet.address` and with its port. */
export interface ContainerPlace {
  namespace: string;
  pod: string;
  container: string;
}

/**
 * Simulated: stands in for the kubelet of a node where the API server fetches containers' logs, since no real one runs here. It speaks a
 * kubelet's HTTPS (GET /containerLogs/namespace/pod/container with tailLines, sinceSeconds, limitBytes, timestamps, previous and follow).
 */
export class SimulatedKubelet implements AsyncDisposable {
  readonly address = "127.0.0.1";
  readonly port: number;
  /** The query of each request for logs, in order. */
  readonly asked: URLSearchParams[] = [];
  readonly #server: Server;
  readonly #logs = new Map<string, ContainerLog>();

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.port = port;
    server.on("request", (request, response) => void this.#answer(request, response).catch(() => response.destroy()));
  }

  static async start(): Promise<SimulatedKubelet> {
    const server = await httpsServer(await TestAuthority.create("kubelet"), () => {});
    return new SimulatedKubelet(server, await listen(server));
  }

  /** A line that the container writes now, or wrote `at`. */
  write(place: ContainerPlace, text: string, at = new Date()): void {
    const log = this.#log(place);
    log.lines.push({ at, text });
    for (const follower of log.followers) follower({ at, text });
  }

  /** The container is over: who follows its log gets the end. */
  end(place: ContainerPlace): void {
    const log = this.#log(place);
    log.ended = true;
    for (const follower of log.followers) follower(null);
  }

  /** A new container in its place: what was written so far is the previous one's. */
  restart(place: ContainerPlace): void {
    this.end(place);
    const log = this.#log(place);
    Object.assign(log, { previous: log.lines, lines: [], ended: false });
  }

  /** How many follow the container's log now. */
  followers(place: ContainerPlace): number {
    return this.#log(place).followers.size;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #log({ namespace, pod, container }: ContainerPlace): ContainerLog {
    const key = `${namespace}/${pod}/${container}`;
    const log = this.#logs.get(key) ?? { lines: [], previous: [], ended: false, followers: new Set() };
    this.#logs.set(key, log);
    return log;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "https://kubelet");
    const [, endpoint, namespace = "", pod = "", container = ""] = url.pathname.split("/").map(decodeURIComponent);
    if (endpoint !== "containerLogs") return void response.writeHead(404).end("404 page not found\n");
    this.asked.push(url.searchParams);
    const log = this.#logs.get(`${namespace}/${pod}/${container}`);
    if (log === undefined) {
      return void response.writeHead(400).end(`container "${container}" in pod "${pod}" is waiting to start: ContainerCreating`);
    }
    await answerLog(log, url.searchParams, response);
  }
}

async function answerLog(log: ContainerLog, query: URLSearchParams, response: ServerResponse): Promise<void> {
  const isPrevious = query.get("previous") === "true";
  let left = query.has("limitBytes") ? Number(query.get("limitBytes")) : Number.POSITIVE_INFINITY;
  const write = ({ at, text }: LogLine) => {
    const line = Buffer.from(`${query.get("timestamps") === "true" ? `${at.toISOString()} ` : ""}${text}\n`);
    response.write(line.subarray(0, Math.min(line.length, left)));
    left -= Math.min(line.length, left);
  };
  response.writeHead(200, { "content-type": "text/plain" }).flushHeaders();
  for (const line of selected(isPrevious ? log.previous : log.lines, query)) write(line);
  if (query.get("follow") !== "true" || isPrevious || log.ended) return void response.end();
  const follower = (line: LogLine | null) => {
    if (line !== null) write(line);
    if (line === null || left === 0) response.end();
  };
  log.followers.add(follower);
  await once(response, "close").finally(() => log.followers.delete(follower));
}

function selected(lines: LogLine[], query: URLSearchParams): LogLine[] {
  const since = query.has("sinceSeconds") ? Date.now() - Number(query.get("sinceSeconds")) * 1_000 : Number.NEGATIVE_INFINITY;
  const recent = lines.filter(({ at }) => at.getTime() >= since);
  const tail = query.has("tailLines") ? Number(query.get("tailLines")) : recent.length;
  return tail === 0 ? [] : recent.slice(-tail);
}
