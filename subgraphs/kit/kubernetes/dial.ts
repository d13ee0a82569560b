import type { LookupAddress } from "node:dns";
import { lookup as systemLookup } from "node:dns/promises";
import { once } from "node:events";
import { request } from "node:http";
import { connect, isIP, type Socket } from "node:net";
import { type SecureContext, type TLSSocket, connect as tlsConnect } from "node:tls";
import { connectFailure } from "./connect-failures.ts";
import { type ConnectionStep, KubernetesFailure } from "./types.ts";

export type Lookup = (host: string) => Promise<LookupAddress[]>;

export interface DialTarget {
  host: string;
  port: number;
  /** A proxy in between, spoken to in HTTP. */
  proxy: { host: string; port: number } | null;
  /** Instead of the host in the server's certificate. */
  tlsServerName: string | null;
  insecureSkipTlsVerify: boolean;
  secureContext: SecureContext;
  lookup?: Lookup | undefined;
}

/** After that long without a packet the kernel asks, every second; ten without an answer are the end of the connection. */
const KEEP_ALIVE_MS = 15_000;
/** Of several addresses of a name each gets that long. */
const ADDRESS_TIMEOUT_MS = 1_000;

const lookups = new Map<string, Promise<LookupAddress[]>>();

/** A name is looked up once at a time: the system's resolver has few threads, and a dead name server holds one for long. */
function resolveName(host: string): Promise<LookupAddress[]> {
  const running = lookups.get(host);
  if (running !== undefined) return running;
  const lookup = systemLookup(host, { all: true, order: "verbatim" }).finally(() => lookups.delete(host));
  lookups.set(host, lookup);
  return lookup;
}

/** One connection to a cluster, and the step at which it is. Every failure is a KubernetesFailure of that step. */
export class Dial {
  step: ConnectionStep = "DNS";
  readonly #target: DialTarget;
  readonly #signal: AbortSignal;

  constructor(target: DialTarget, signal: AbortSignal) {
    this.#target = target;
    this.#signal = signal;
  }

  /** Rejects with the signal's reason when it aborts. */
  async run(): Promise<TLSSocket> {
    let socket: Socket | undefined;
    try {
      const { host, port, proxy } = this.#target;
      const hop = proxy ?? { host, port };
      const addresses = await this.#unlessAborted(this.#resolve(hop.host));
      this.step = "TCP";
      socket = await this.#connect(hop.port, addresses);
      if (proxy) socket = await this.#tunnel(socket);
      this.step = "TLS";
      return await this.#secure(socket);
    } catch (error) {
      socket?.destroy();
      this.#signal.throwIfAborted();
      throw connectFailure(this.step, error);
    }
  }

  async #resolve(host: string): Promise<LookupAddress[]> {
    const family = isIP(host);
    return family === 0 ? await (this.#target.lookup ?? resolveName)(host) : [{ address: host, family }];
  }

  async #connect(port: number, addresses: LookupAddress[]): Promise<Socket> {
    const socket = connect({
      host: "resolved",
      port,
      // Already done: it is a step of its own.
      lookup: (_host, options, done) => {
        const [first] = addresses;
        if (options.all) done(null, addresses);
        else done(null, first?.address ?? "", first?.family);
      },
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    return await this.#until(socket, "connect");
  }

  /** Through an HTTP proxy by CONNECT. */
  async #tunnel(socket: Socket): Promise<Socket> {
    const { host, port } = this.#target;
    const authority = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    const connecting = request({ method: "CONNECT", path: authority, headers: { host: authority }, createConnection: () => socket });
    const answered = once(connecting, "connect", { signal: this.#signal });
    // It says so once more when it is destroyed.
    connecting.on("error", () => undefined).end();
    try {
      const [answer, , head] = (await answered) as [{ statusCode?: number }, Socket, Buffer];
      if (answer.statusCode === 200 && head.length === 0) return socket;
      throw new Error(`the proxy answered ${answer.statusCode}`);
    } catch (cause) {
      connecting.destroy();
      const message = "The proxy of the kubeconfig (proxy-url) does not connect to the API server.";
      throw new KubernetesFailure("UNAVAILABLE", "TCP", "ProxyFailed", message, { cause });
    }
  }

  async #secure(socket: Socket): Promise<TLSSocket> {
    const { host, tlsServerName, insecureSkipTlsVerify, secureContext } = this.#target;
    const name = tlsServerName ?? host;
    const secured = tlsConnect({
      socket,
      secureContext,
      host: name,
      // An address is checked in the certificate; it may not be sent as a name.
      servername: isIP(name) === 0 ? name : "",
      rejectUnauthorized: !insecureSkipTlsVerify,
      ALPNProtocols: ["http/1.1"],
    });
    // A refusal of the client's certificate comes after the handshake, and before an end that would hide it.
    secured.on("error", (error) => secured.destroy(error));
    return await this.#until(secured, "secureConnect");
  }

  async #until<S extends Socket>(socket: S, event: "connect" | "secureConnect"): Promise<S> {
    try {
      await once(socket, event, { signal: this.#signal });
      return socket;
    } catch (error) {
      // What it says about its end is no longer of interest.
      socket.on("error", () => undefined).destroy();
      throw error;
    }
  }

  async #unlessAborted<T>(promise: Promise<T>): Promise<T> {
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(this.#signal.reason);
    this.#signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([promise, aborted.promise]);
    } finally {
      this.#signal.removeEventListener("abort", onAbort);
    }
  }
}
