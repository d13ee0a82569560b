import { execFile } from "node:child_process";
import { generateKeyPairSync, type KeyObject, randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { Agent, request } from "undici";
import { until } from "../until.ts";
import { type ApiserverSettings, writeApiserverSettings } from "./apiserver-settings.ts";
import { type KubeconfigOptions, writeKubeconfig } from "./kubeconfig.ts";
import { kubernetesPrograms } from "./programs.ts";
import { freePort, ServerProcess } from "./server-process.ts";
import { TestAuthority, type TestCertificate, type TestCertificateOptions } from "./test-authority.ts";
import { TestEtcd } from "./test-etcd.ts";
import { TestTokens, type TestUser } from "./test-tokens.ts";

const run = promisify(execFile);
/** Far above what any command takes here. */
const COMMAND_MS = 60_000;
const START_MS = 60_000;
/** While it starts: each question costs it something. */
const POLL_MS = 50;

export interface TestKubernetesOptions {
  /** Without one it has an etcd of its own, which ends with it. */
  etcd?: TestEtcd;
  /**
   * True unless told. False: watches are served from etcd, so that after `compact` an old version gets 410 at once; with the cache that
   * happens only once the server was started again.
   */
  watchCache?: boolean;
  /** What its certificate is for and when, instead of its own address for a day. */
  serverCertificate?: Partial<TestCertificateOptions>;
}

export interface KubectlOptions {
  /** What it reads by `-f -`. */
  input?: string;
  kubeconfig?: string;
}

/** What the API answered. */
export interface KubernetesAnswer {
  status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they asked for
  body: any;
}

/**
 * A real kube-apiserver with RBAC, but with no controllers, kubelets or scheduler: nodes and pods are what a test writes, nothing runs
 * them, a deleted namespace stays Terminating, the roles that gather others (view, edit, admin) allow nothing, and a Secret gets no
 * token (`fillTokenSecret`). It runs where its etcd does. Up in about 4 s; 350 MB. Needs the peer "kubernetes".
 */
export class TestKubernetes implements AsyncDisposable {
  readonly url: string;
  readonly etcd: TestEtcd;
  readonly authority: TestAuthority;
  /** Of a user who may do everything (system:masters). */
  readonly adminToken: string;
  /** Signs the tokens of service accounts. */
  readonly serviceAccountKey: KeyObject;
  readonly #directory: string;
  readonly #args: string[];
  readonly #tokens: TestTokens;
  readonly #agent: Agent;
  /** What ends with it, behind the server itself. */
  readonly #resources: AsyncDisposableStack;
  #process: ServerProcess | null = null;

  private constructor(parts: {
    url: string;
    settings: ApiserverSettings;
    args: string[];
    tokens: TestTokens;
    resources: AsyncDisposableStack;
  }) {
    const { settings } = parts;
    this.url = parts.url;
    this.etcd = settings.etcd;
    this.authority = settings.authority;
    this.adminToken = settings.adminToken;
    this.serviceAccountKey = settings.serviceAccountKey;
    this.#directory = settings.directory;
    this.#args = parts.args;
    this.#tokens = parts.tokens;
    this.#resources = parts.resources;
    // Whether its certificate is right is not what this is for.
    this.#agent = new Agent({ connect: { rejectUnauthorized: false } });
  }

  static async start(options: TestKubernetesOptions = {}): Promise<TestKubernetes> {
    await using resources = new AsyncDisposableStack();
    const etcd = options.etcd ?? resources.use(await TestEtcd.start());
    const tokens = resources.use(await TestTokens.start(etcd.namespace?.hostAddress ?? "127.0.0.1"));
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-kubernetes-"));
    resources.defer(() => rm(directory, { recursive: true, force: true }));
    const settings: ApiserverSettings = {
      directory,
      address: etcd.namespace?.address ?? "127.0.0.1",
      port: await freePort(),
      etcd,
      authority: await TestAuthority.create("test cluster"),
      adminToken: randomBytes(24).toString("base64url"),
      serviceAccountKey: generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey,
      tokensUrl: tokens.url,
      watchCache: options.watchCache ?? true,
      serverCertificate: options.serverCertificate ?? {},
    };
    const args = await writeApiserverSettings(settings);
    const url = `https://${settings.address}:${settings.port}`;
    const cluster = new TestKubernetes({ url, settings, args, tokens, resources: resources.move() });
    try {
      await writeFile(join(directory, "admin.yaml"), cluster.kubeconfig(), { mode: 0o600 });
      await cluster.start();
      return cluster;
    } catch (error) {
      await cluster.stop();
      throw error;
    }
  }

  get caPem(): string {
    return this.authority.caPem;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** After a kill: the same port and objects. */
  async start(): Promise<void> {
    const server = new ServerProcess((await kubernetesPrograms()).kubeApiserver, this.#args, this.etcd.namespace);
    this.#process = server;
    const ready = async () => {
      server.mustRun();
      await delay(POLL_MS);
      const answers = await Promise.all(
        ["/readyz", "/api/v1/namespaces/default"].map((path) => this.request("GET", path).catch(() => null)),
      );
      return answers.every((answer) => answer?.status === 200);
    };
    await until(ready, "kube-apiserver", START_MS).catch((error: Error) => {
      throw new Error(`${error.message} ${server.problem("said")}`);
    });
  }

  /** YAML of a kubeconfig whose only context leads here, with the administrator's token unless told. */
  kubeconfig(options: KubeconfigOptions = {}): string {
    return writeKubeconfig({ server: this.url, caPem: this.caPem, credentials: { token: this.adminToken }, ...options });
  }

  /** A token that is valid at once, until it is revoked. What its user may do, RBAC says. */
  issueToken(user: TestUser): string {
    return this.#tokens.issue(user);
  }

  /** The API server remembers tokens for 10 s: refused after that. A connection that is open, such as a watch, stays so. */
  revokeToken(token: string): void {
    this.#tokens.revoke(token);
  }

  clientCertificate(options: TestCertificateOptions): Promise<TestCertificate> {
    return this.authority.sign(options);
  }

  /** kubectl as the administrator or as a kubeconfig says. Gives what it printed; a failure is an error with what it said. */
  async kubectl(args: string[], { input = "", kubeconfig }: KubectlOptions = {}): Promise<string> {
    const file = join(this.#directory, kubeconfig === undefined ? "admin.yaml" : `${randomUUID()}.yaml`);
    if (kubeconfig !== undefined) await writeFile(file, kubeconfig, { mode: 0o600 });
    const own = ["--kubeconfig", file, "--cache-dir", join(this.#directory, "kubectl-cache")];
    const command = [...(this.etcd.namespace?.prefix ?? []), (await kubernetesPrograms()).kubectl, ...own, ...args];
    const running = run(command[0] as string, command.slice(1), { timeout: COMMAND_MS, maxBuffer: 256 * 1024 * 1024 });
    // It may end before it has read all.
    running.child.stdin?.on("error", () => {}).end(input);
    return (await running).stdout;
  }

  /** As the administrator. `contentType` is for PATCH: a merge patch unless told. */
  async request(method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: object, contentType?: string) {
    const type = contentType ?? (method === "PATCH" ? "application/merge-patch+json" : "application/json");
    const answer = await request(`${this.url}${path}`, {
      method,
      dispatcher: this.#agent,
      headers: { authorization: `Bearer ${this.adminToken}`, ...(body === undefined ? {} : { "content-type": type }) },
      body: body === undefined ? null : JSON.stringify(body),
      headersTimeout: COMMAND_MS,
      bodyTimeout: COMMAND_MS,
    });
    const text = await answer.body.text();
    const isJson = String(answer.headers["content-type"]).includes("json");
    return { status: answer.statusCode, body: isJson ? JSON.parse(text) : text } satisfies KubernetesAnswer as KubernetesAnswer;
  }

  /** The same of a request that must succeed. Gives the body. */
  // biome-ignore lint/suspicious/noExplicitAny: tests read what they asked for
  async mustRequest(...args: Parameters<TestKubernetes["request"]>): Promise<any> {
    const { status, body } = await this.request(...args);
    if (status >= 300) throw new Error(`${args[0]} ${args[1]} is answered ${status}: ${JSON.stringify(body)}`);
    return body;
  }

  /** Ends it without warning; `start` brings it back. */
  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  /** Connections stay open and are taken, and nothing answers. */
  freeze(): void {
    this.#process?.freeze();
  }

  thaw(): void {
    this.#process?.thaw();
  }

  /** Its etcd forgets all changes so far; see `watchCache`. */
  compact(): Promise<void> {
    return this.etcd.compact();
  }

  async stop(): Promise<void> {
    await this.kill();
    await this.#agent.destroy();
    await this.#resources.disposeAsync();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
