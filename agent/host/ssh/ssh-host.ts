import type { Duplex } from "node:stream";
import { FleetError } from "../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../platform/observability/log.ts";
import { Backoff, pause } from "../../control-plane/backoff.ts";
import { waitAtMost } from "../../libvirt/wait.ts";
import { CapturedHost } from "../capture/captured-host.ts";
import { fetchCapture } from "../capture/fetch.ts";
import { literalPath } from "../capture/globs.ts";
import {
  type ExecOptions,
  type ExecResult,
  type FileSystemSize,
  type FollowedCommand,
  type HostChannel,
  type HostCommand,
  type HostNeeds,
  HostReadError,
  type InterfaceAddress,
} from "../host-channel.ts";
import { parseAddresses, parseFileSystem, STAT_FORMAT } from "./answers.ts";
import { checkPrivateKey, PinnedKeys } from "./host-keys.ts";
import { SshConnection, type SshStep } from "./ssh-connection.ts";
import { SshSessions } from "./ssh-sessions.ts";

export interface SshHostOptions {
  host: string;
  /** 22 by default. */
  port?: number | undefined;
  user: string;
  password?: string | undefined;
  /** OpenSSH or PEM. Tried before the password where both are given. */
  privateKey?: string | undefined;
  passphrase?: string | undefined;
  /** "ssh-ed25519 AAAA…"; none: the one that the host shows first is taken, and pinned from then on. */
  hostKeys: readonly string[];
  /** Called for each step of each attempt to connect. */
  onStep?: (step: SshStep) => void;
  log: Logger;
}

/** The way to the host, and what of the host is known once it is open. */
interface OpenWay {
  connection: SshConnection;
  sessions: SshSessions;
}

const RECONNECT = { firstMs: 500, longestMs: 15_000 };
/** Hosts lock accounts that fail to sign in again and again, and what was refused needs a person anyhow. */
const AFTER_REFUSAL = { firstMs: 60_000, longestMs: 300_000 };
const FORWARD_MS = 10_000;

/** Begins to connect, and connects again whenever the connection is lost. Throws INVALID_ARGUMENT for keys that are none. */
export function openSshHost(options: SshHostOptions): SshHost {
  return new SshHost(options);
}

/**
 * A host over one SSH connection. What is asked while there is none waits for the attempt that is under way, and otherwise fails at once with
 * HOST_UNREACHABLE. Secrets stay in this process's memory.
 */
export class SshHost implements HostChannel {
  readonly kind = "ssh";
  readonly #options: SshHostOptions;
  readonly #listeners = new Set<(connected: boolean) => void>();
  readonly #closing = new AbortController();
  readonly #work: Promise<void>;
  #pinned: PinnedKeys;
  #way: OpenWay | null = null;
  /** The attempt that is under way, or the last one that succeeded; null between attempts. */
  #attempt: Promise<OpenWay> | null = null;
  #lastError: FleetError | undefined;
  #hostKey: string | null = null;
  /** Whether the host's sshd forwards sockets; null: not known yet. */
  #forwards: boolean | null = null;

  constructor(options: SshHostOptions) {
    if (options.privateKey !== undefined) checkPrivateKey(options.privateKey, options.passphrase);
    this.#options = options;
    this.#pinned = new PinnedKeys(options.hostKeys);
    this.#work = this.#run(this.#closing.signal);
  }

  get connected(): boolean {
    return this.#way !== null;
  }

  /** Why there was no connection, the last time that there was none: as SshConnection.open throws it. */
  get lastError(): FleetError | undefined {
    return this.#lastError;
  }

  /** "ssh-ed25519 AAAA…", as the host showed it; null before the first connection. */
  get hostKey(): string | null {
    return this.#hostKey;
  }

  /** Whether the account has a shell on the host; null while there is no connection. */
  get hasShell(): boolean | null {
    return this.#way === null ? null : this.#way.sessions.shell !== null;
  }

  /** Not called for the state that there is now. */
  onConnectionChange(listener: (connected: boolean) => void): () => void {
    const own = (connected: boolean) => listener(connected);
    this.#listeners.add(own);
    return () => this.#listeners.delete(own);
  }

  /** Resolves once connected. Throws what the attempt that is under way throws, or the last one did: UNAVAILABLE, UNAUTHENTICATED, FAILED_PRECONDITION. */
  async attempt(signal: AbortSignal): Promise<void> {
    await waitAtMost(this.#open(), Number.POSITIVE_INFINITY, signal, () => closed());
  }

  /** Ends what runs on the host for it. Resolves when nothing of it is left. */
  async close(): Promise<void> {
    this.#closing.abort(closed());
    await this.#work;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async read(path: string): Promise<string> {
    return await (await this.#one(path)).read(path);
  }

  async list(path: string): Promise<string[]> {
    return await (await this.#one(path)).list(path);
  }

  async readLink(path: string): Promise<string> {
    return await (await this.#one(path)).readLink(path);
  }

  async architecture(): Promise<string | null> {
    return (await this.#sessions("architecture")).demandShell("architecture").architecture;
  }

  async fileSystem(path: string): Promise<FileSystemSize> {
    return parseFileSystem(await this.exec({ program: "stat", args: ["-f", "-c", STAT_FORMAT, "--", path] }), path);
  }

  async addresses(): Promise<InterfaceAddress[]> {
    return parseAddresses(await this.exec({ program: "ip", args: ["-j", "address"] }));
  }

  async exec(command: HostCommand, options: ExecOptions = {}): Promise<ExecResult> {
    return await (await this.#sessions(command.program, options.signal)).exec(command, options);
  }

  async follow(command: HostCommand, signal: AbortSignal): Promise<FollowedCommand> {
    return await (await this.#sessions(command.program, signal)).follow(command, signal);
  }

  async connect(socketPath: string, signal: AbortSignal): Promise<Duplex> {
    signal.throwIfAborted();
    const sessions = await this.#sessions(socketPath, signal);
    const connection = this.#way?.connection;
    if (this.#forwards !== false && connection !== undefined) {
      const forwarded = connection.forward(socketPath);
      try {
        const late = () => new HostReadError("TIMEOUT", socketPath, `${socketPath} was not opened within ${FORWARD_MS / 1000} s.`);
        const channel = await waitAtMost(forwarded, FORWARD_MS, signal, late);
        this.#forwards = true;
        return channel;
      } catch (error) {
        void forwarded.then((channel) => channel.destroy()).catch(() => undefined);
        if (signal.aborted) throw signal.reason;
        if (error instanceof HostReadError) throw error;
      }
    }
    // sshd does not say whether it was the socket or that it forwards none: a program on the host does.
    const channel = await sessions.connect(socketPath, signal);
    this.#forwards ??= false;
    return channel;
  }

  async snapshot(needs: HostNeeds): Promise<HostChannel> {
    const sessions = await this.#sessions("sh");
    return new CapturedHost(await fetchCapture((script, limits) => sessions.script(script, limits), needs), this);
  }

  #one(path: string): Promise<HostChannel> {
    return this.snapshot({ paths: [literalPath(path)], commands: [] });
  }

  async #sessions(name: string, signal?: AbortSignal): Promise<SshSessions> {
    try {
      const late = () => new FleetError("UNAVAILABLE", "The host does not answer.");
      return (await waitAtMost(this.#open(), FORWARD_MS, signal, late)).sessions;
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw new HostReadError("HOST_UNREACHABLE", name, (error as Error).message, error);
    }
  }

  #open(): Promise<OpenWay> {
    if (this.#attempt !== null) return this.#attempt;
    return Promise.reject(this.#lastError ?? closed());
  }

  async #run(signal: AbortSignal): Promise<void> {
    const backoff = { usual: new Backoff(RECONNECT), refused: new Backoff(AFTER_REFUSAL) };
    while (!signal.aborted) {
      this.#attempt = this.#connect(signal);
      try {
        const { connection } = await this.#attempt;
        backoff.usual.reset();
        backoff.refused.reset();
        await Promise.race([connection.ended, aborted(signal)]);
        const reason = signal.aborted ? closed() : await connection.ended;
        this.#lose(reason);
        await connection.close();
      } catch (error) {
        this.#lose(FleetError.from(error));
      }
      if (signal.aborted) return;
      const refused = this.#lastError?.code !== "UNAVAILABLE";
      await pause((refused ? backoff.refused : backoff.usual).next(), signal);
    }
  }

  async #connect(signal: AbortSignal): Promise<OpenWay> {
    const { host, port = 22, user, password, privateKey, passphrase, onStep } = this.#options;
    const access = { host, port, user, password, privateKey, passphrase, onStep };
    const connection = await SshConnection.open({ ...access, pinned: this.#pinned }, signal);
    try {
      const sessions = await SshSessions.open(connection, signal);
      this.#way = { connection, sessions };
      this.#hostKey = connection.hostKey;
      if (this.#pinned.none) this.#pinned = new PinnedKeys([connection.hostKey]);
      this.#options.log.info("connected to the host");
      this.#tell(true);
      return this.#way;
    } catch (error) {
      await connection.close();
      throw error instanceof HostReadError
        ? new FleetError("UNAVAILABLE", error.message, { reason: "ConnectFailed", cause: error })
        : error;
    }
  }

  #lose(reason: FleetError): void {
    const wasConnected = this.#way !== null;
    const isNews = wasConnected || this.#lastError?.message !== reason.message;
    this.#lastError = reason;
    this.#attempt = null;
    this.#way = null;
    if (isNews && !this.#closing.signal.aborted) this.#options.log.warn({ why: reason.message }, "no connection to the host");
    if (wasConnected) this.#tell(false);
  }

  #tell(connected: boolean): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(connected);
      } catch (error) {
        this.#options.log.error({ err: error }, "a listener to the connection with a host failed");
      }
    }
  }
}

function closed(): FleetError {
  return new FleetError("UNAVAILABLE", "The connection to the host was closed.", { reason: "HostClosed" });
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
