import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "undici";
import type { NetworkNamespace } from "../network-namespace.ts";
import { until } from "../until.ts";
import { kubernetesPrograms } from "./programs.ts";
import { freePort, ServerProcess } from "./server-process.ts";

export interface TestEtcdOptions {
  /** It and all its API servers live in there; without one they are on this machine's loopback. */
  namespace?: NetworkNamespace;
}

/** A real etcd for the API servers of a test, each of which has a prefix of its own. Data is written without syncing. */
export class TestEtcd implements AsyncDisposable {
  readonly url: string;
  readonly namespace: NetworkNamespace | null;
  readonly #directory: string;
  #process: ServerProcess | null = null;
  #prefixes = 0;

  private constructor(url: string, directory: string, namespace: NetworkNamespace | null) {
    this.url = url;
    this.namespace = namespace;
    this.#directory = directory;
  }

  static async start({ namespace }: TestEtcdOptions = {}): Promise<TestEtcd> {
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-etcd-"));
    const url = `http://${namespace?.address ?? "127.0.0.1"}:${await freePort()}`;
    const etcd = new TestEtcd(url, directory, namespace ?? null);
    try {
      await etcd.start();
      return etcd;
    } catch (error) {
      await etcd.stop();
      throw error;
    }
  }

  /** After a kill: the same port and data. */
  async start(): Promise<void> {
    const { etcd } = await kubernetesPrograms();
    // Its peers' port must be its own too, though it has no peers.
    const peers = `http://127.0.0.1:${await freePort()}`;
    const server = new ServerProcess(
      etcd,
      [
        ...["--name", "test", "--data-dir", join(this.#directory, "data"), "--unsafe-no-fsync", "--logger", "zap", "--log-level", "error"],
        ...["--listen-client-urls", this.url, "--advertise-client-urls", this.url],
        ...["--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", `test=${peers}`],
      ],
      this.namespace,
    );
    this.#process = server;
    await until(async () => {
      server.mustRun();
      return this.#post("maintenance/status", {}).then(
        () => true,
        () => false,
      );
    }, "etcd");
  }

  /** For one more API server: its objects are kept below this. */
  newPrefix(): string {
    this.#prefixes += 1;
    return `/cluster-${this.#prefixes}`;
  }

  /** Forgets all changes so far, of all API servers: who asks for what happened since an older version gets 410 (Expired). */
  async compact(): Promise<void> {
    const { header } = await this.#post("kv/range", { key: Buffer.from("/").toString("base64"), limit: 1 });
    await this.#post("kv/compaction", { revision: header.revision, physical: true });
  }

  /** Ends it without warning. */
  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #post(path: string, body: object): Promise<{ header: { revision: string } }> {
    const options = { method: "POST" as const, body: JSON.stringify(body), headersTimeout: 10_000, bodyTimeout: 10_000 };
    const answer = await request(`${this.url}/v3/${path}`, options);
    const text = await answer.body.text();
    if (answer.statusCode !== 200) throw new Error(`etcd answers ${answer.statusCode} to ${path}: ${text}`);
    return JSON.parse(text);
  }
}
