import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "undici";
import { until } from "../until.ts";
import { prometheusProgram } from "./programs.ts";
import { freePort, ServerProcess } from "./server-process.ts";

export interface TestPrometheusOptions {
  /** Where it listens; 127.0.0.1 unless told. `machineAddress` is for who comes through an API server's proxy. */
  address?: string;
  /** Below which its paths are: "/prometheus". */
  pathPrefix?: string;
}

/** The real Prometheus, which watches only itself. Up in under a second. Needs the peer "prometheus". */
export class TestPrometheus implements AsyncDisposable {
  readonly address: string;
  readonly port: number;
  /** With the prefix, without a slash at its end. */
  readonly url: string;
  readonly #directory: string;
  readonly #prefix: string;
  #process: ServerProcess | null = null;

  private constructor(directory: string, address: string, port: number, prefix: string) {
    this.#directory = directory;
    this.#prefix = prefix;
    this.address = address;
    this.port = port;
    this.url = `http://${address}:${port}${prefix}`;
  }

  static async start({ address = "127.0.0.1", pathPrefix = "" }: TestPrometheusOptions = {}): Promise<TestPrometheus> {
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-prometheus-"));
    const prometheus = new TestPrometheus(directory, address, await freePort(), pathPrefix);
    try {
      await prometheus.start();
      return prometheus;
    } catch (error) {
      await prometheus.stop();
      throw error;
    }
  }

  /** After a kill: the same port and data. */
  async start(): Promise<void> {
    const config = join(this.#directory, "prometheus.yml");
    const target = {
      job_name: "self",
      metrics_path: `${this.#prefix}/metrics`,
      static_configs: [{ targets: [`${this.address}:${this.port}`] }],
    };
    // YAML takes JSON.
    await writeFile(config, JSON.stringify({ global: { scrape_interval: "1s" }, scrape_configs: [target] }));
    const args = [
      ...[`--config.file=${config}`, `--storage.tsdb.path=${join(this.#directory, "data")}`, "--log.level=warn"],
      ...[`--web.listen-address=${this.address}:${this.port}`, `--web.route-prefix=${this.#prefix || "/"}`],
    ];
    const server = new ServerProcess(await prometheusProgram(), args, null);
    this.#process = server;
    await until(async () => {
      server.mustRun();
      return answers(`${this.url}/-/ready`);
    }, "prometheus");
  }

  /** Ends it without warning. */
  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  freeze(): void {
    this.#process?.freeze();
  }

  thaw(): void {
    this.#process?.thaw();
  }

  async stop(): Promise<void> {
    await this.kill();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** An IPv4 address of this machine beside the loopback, which an API server proxies to; fails on a machine without one. */
export function machineAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const found = addresses.find(({ family, internal, address }) => family === "IPv4" && !internal && !address.startsWith("169.254."));
  if (found === undefined) throw new Error("This machine has no network but its loopback.");
  return found.address;
}

async function answers(url: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(url, { headersTimeout: 2_000, bodyTimeout: 2_000 });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}
