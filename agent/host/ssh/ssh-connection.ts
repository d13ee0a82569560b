import { connect, isIP, type Socket } from "node:net";
import ssh2, { type Channel, type Client, type ClientChannel, type ConnectConfig } from "ssh2";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import { hostKeyLine, type PinnedKeys } from "./host-keys.ts";

/** How far an attempt came; the step of a failure is in its `details.step`. */
export type SshStep = "RESOLVE" | "CONNECT" | "HOST_KEY" | "AUTHENTICATE";

export interface SshConnectionOptions {
  host: string;
  port: number;
  user: string;
  password?: string | undefined;
  privateKey?: string | undefined;
  passphrase?: string | undefined;
  pinned: PinnedKeys;
  onStep?: ((step: SshStep) => void) | undefined;
}

const CONNECT_MS = 10_000;
const HANDSHAKE_MS = 20_000;
const KEEPALIVE = { keepaliveInterval: 10_000, keepaliveCountMax: 3 };
const UNRESOLVED = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA"]);
const GOODBYE_MS = 2000;

/** One authenticated connection. Secrets are in memory only. */
export class SshConnection {
  /** Of the host: "ssh-ed25519 AAAA…". */
  readonly hostKey: string;
  /** Resolves, once, with why it is over. Never rejects. */
  readonly ended: Promise<FleetError>;
  readonly #client: Client;

  private constructor(client: Client, hostKey: string, ended: Promise<FleetError>) {
    this.#client = client;
    this.hostKey = hostKey;
    this.ended = ended;
  }

  /**
   * Leaves nothing behind when it throws: UNAVAILABLE with the reason ResolveFailed or ConnectFailed, FAILED_PRECONDITION with HostKeyChanged,
   * UNAUTHENTICATED with AuthenticationFailed; CANCELLED when aborted.
   */
  static async open(options: SshConnectionOptions, signal: AbortSignal): Promise<SshConnection> {
    const socket = await connected(options, signal);
    const client = new ssh2.Client();
    const { pinned, user, password, privateKey, passphrase, onStep } = options;
    const opened = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<FleetError>();
    let shown: Buffer | null = null;
    const onAbort = () => opened.reject(FleetError.from(signal.reason));
    signal.addEventListener("abort", onAbort, { once: true });
    onStep?.("HOST_KEY");
    client.on("error", (error) => opened.reject(failure(error, shown, pinned)));
    client.on("close", () => opened.reject(connectFailed("The host closed the connection.")));
    client.on("ready", () => opened.resolve());
    client.on("keyboard-interactive", (_name, _instructions, _language, prompts, finish) =>
      finish(prompts.map(({ echo }) => (echo ? user : (password ?? "")))),
    );
    try {
      client.connect({
        ...{ sock: socket, username: user, readyTimeout: HANDSHAKE_MS, ...KEEPALIVE },
        ...(privateKey === undefined ? {} : { privateKey, ...(passphrase === undefined ? {} : { passphrase }) }),
        ...(password === undefined ? {} : { password, tryKeyboard: true }),
        authHandler: [
          ...(privateKey === undefined ? [] : ["publickey" as const]),
          ...(password === undefined ? [] : ["password" as const, "keyboard-interactive" as const]),
        ] as ConnectConfig["authHandler"] & object,
        algorithms: { serverHostKey: pinned.algorithms },
        hostVerifier: (key: Buffer) => {
          shown ??= key;
          const known = pinned.none ? key.equals(shown) : pinned.includes(key);
          if (known) onStep?.("AUTHENTICATE");
          return known;
        },
      });
      await opened.promise;
    } catch (error) {
      client.destroy();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
    let reason = "the host closed it";
    client.removeAllListeners("error").on("error", (error) => {
      reason = error.message;
    });
    client.once("close", () => ended.resolve(connectFailed(`The SSH connection was lost: ${reason}.`)));
    return new SshConnection(client, hostKeyLine(shown as unknown as Buffer), ended.promise);
  }

  /** A session that runs one command line by the account's shell. */
  exec(line: string): Promise<ClientChannel> {
    return new Promise((resolve, reject) => {
      this.#client.exec(line, (error, channel) => (error ? reject(error) : resolve(channel)));
    });
  }

  /** The far end of a UNIX socket of the host. */
  forward(socketPath: string): Promise<Channel> {
    return new Promise((resolve, reject) => {
      this.#client.openssh_forwardOutStreamLocal(socketPath, (error, channel) => (error ? reject(error) : resolve(channel)));
    });
  }

  /** Resolves when nothing of it is left. */
  async close(): Promise<void> {
    this.#client.end();
    const timer = setTimeout(() => this.#client.destroy(), GOODBYE_MS);
    await this.ended;
    clearTimeout(timer);
  }
}

/** A socket to the host, or why there is none. */
async function connected({ host, port, onStep }: SshConnectionOptions, signal: AbortSignal): Promise<Socket> {
  onStep?.("RESOLVE");
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)]);
  limit.throwIfAborted();
  const socket = connect({ host, port, noDelay: true, keepAlive: true, autoSelectFamily: true });
  const opened = Promise.withResolvers<void>();
  const onAbort = () => opened.reject(limit.reason);
  limit.addEventListener("abort", onAbort, { once: true });
  let resolved = isIP(host) !== 0;
  if (resolved) onStep?.("CONNECT");
  socket.once("lookup", (error) => {
    resolved = !error;
    if (resolved) onStep?.("CONNECT");
  });
  socket.once("connect", opened.resolve).once("error", opened.reject);
  try {
    await opened.promise;
    return socket;
  } catch (error) {
    socket.on("error", () => undefined).destroy();
    if (signal.aborted) throw FleetError.from(signal.reason);
    const code = (error as NodeJS.ErrnoException).code ?? "";
    if (UNRESOLVED.has(code) || (!resolved && limit.aborted)) {
      throw unavailable(
        "ResolveFailed",
        "RESOLVE",
        `The name ${JSON.stringify(host)} leads to no address (${code || "no answer"}).`,
        error,
      );
    }
    const why = limit.aborted ? `nothing answered within ${CONNECT_MS / 1000} s` : code || (error as Error).message;
    throw connectFailed(`Port ${port} of the host cannot be reached: ${why}.`, error);
  } finally {
    limit.removeEventListener("abort", onAbort);
    socket.off("error", opened.reject);
  }
}

function failure(error: Error & { level?: string }, shown: Buffer | null, pinned: PinnedKeys): FleetError {
  const refused = shown !== null && !pinned.none && !pinned.includes(shown);
  // A host that lost the type of key that it had shown has another identity, too.
  const withdrawn = shown === null && !pinned.none && /no matching host key/i.test(error.message);
  if (refused || withdrawn) {
    const message =
      "The host shows another host key than the one that is pinned: it was installed again, or somebody is in between. " +
      "Compare the key at the host, and remove and add the host again if it is right.";
    const details = { step: "HOST_KEY", ...(shown === null ? {} : { hostKey: hostKeyLine(shown) }) };
    return new FleetError("FAILED_PRECONDITION", message, { reason: "HostKeyChanged", details, cause: error });
  }
  if (error.level === "client-authentication") {
    const message = "The host does not let this user in with this key or password.";
    return new FleetError("UNAUTHENTICATED", message, { reason: "AuthenticationFailed", details: { step: "AUTHENTICATE" }, cause: error });
  }
  return connectFailed(`The host does not complete the SSH handshake: ${error.message}.`, error);
}

function connectFailed(message: string, cause?: unknown): FleetError {
  return unavailable("ConnectFailed", "CONNECT", message, cause);
}

function unavailable(reason: string, step: SshStep, message: string, cause?: unknown): FleetError {
  return new FleetError("UNAVAILABLE", message, { reason, details: { step }, cause });
}
