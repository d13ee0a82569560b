import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestAuthority } from "../../../support/kubernetes/test-authority.ts";

const LISTEN = `require("node:net").createServer().listen({ port: 0, host: "127.0.0.1", backlog: 1 }, function () {
  process.stdout.write(String(this.address().port));
});`;
/** Long for loopback: who is not connected by then is not let in. */
const LET_IN_MS = 300;
const MOST = 20;

/** A port whose queue of connections is full, and nobody empties it: what asks for one more is dropped without an answer. */
export class BusyListener implements AsyncDisposable {
  readonly port: number;
  readonly #process: ChildProcess;
  readonly #waiting: Socket[] = [];

  private constructor(child: ChildProcess, port: number) {
    this.#process = child;
    this.port = port;
  }

  static async start(): Promise<BusyListener> {
    const child = spawn(process.execPath, ["-e", LISTEN], { stdio: ["ignore", "pipe", "inherit"] });
    const [port] = (await once(child.stdout, "data")) as [Buffer];
    child.kill("SIGSTOP");
    const listener = new BusyListener(child, Number(port.toString()));
    while (await listener.#letsIn()) {
      if (listener.#waiting.length > MOST) throw new Error("The queue takes more than it should.");
    }
    return listener;
  }

  async #letsIn(): Promise<boolean> {
    const socket = connect({ port: this.port, host: "127.0.0.1" });
    socket.on("error", () => {});
    this.#waiting.push(socket);
    return await once(socket, "connect", { signal: AbortSignal.timeout(LET_IN_MS) }).then(
      () => true,
      () => false,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#waiting) socket.destroy();
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }
}

/** A TLS server that lets in only who has a certificate of the authority, and tells others why, as a server in Go does (Node's does not). */
export class OpensslServer implements AsyncDisposable {
  readonly port: number;
  readonly #process: ChildProcess;
  readonly #directory: string;

  private constructor(child: ChildProcess, port: number, directory: string) {
    this.#process = child;
    this.port = port;
    this.#directory = directory;
  }

  static async start(authority: TestAuthority, ...options: string[]): Promise<OpensslServer> {
    const directory = await mkdtemp(join(tmpdir(), "fleetgraph-openssl-"));
    const { certificatePem, keyPem } = await authority.sign({ commonName: "server", names: ["127.0.0.1"] });
    const [certificate, key, ca] = ["server.pem", "server.key", "ca.pem"].map((name) => join(directory, name)) as [string, string, string];
    await writeFile(certificate, certificatePem);
    await writeFile(key, keyPem);
    await writeFile(ca, authority.caPem);
    const files = ["-cert", certificate, "-key", key, "-CAfile", ca];
    const args = ["s_server", "-accept", "127.0.0.1:0", ...files, "-Verify", "2", "-verify_return_error", "-www", ...options];
    const child = spawn("openssl", args, { stdio: ["ignore", "pipe", "ignore"] });
    let said = "";
    for await (const text of child.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
      said += text;
      const port = /ACCEPT 127\.0\.0\.1:(\d+)/.exec(said)?.[1];
      if (port !== undefined) return new OpensslServer(child, Number(port), directory);
    }
    throw new Error(`openssl s_server did not start: ${said}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
    await rm(this.#directory, { recursive: true, force: true });
  }
}
