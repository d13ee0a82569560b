import type { Duplex, Writable } from "node:stream";
import type { ClientChannel } from "ssh2";
import { pause } from "../../control-plane/backoff.ts";
import { Turns } from "../../libvirt/turns.ts";
import { type ExecOptions, type ExecResult, type FollowedCommand, type HostCommand, HostReadError } from "../host-channel.ts";
import { checkedSudo, followed, outputOf, type RunningProgram } from "../program.ts";
import { readError, reasonSaid } from "../read-error.ts";
import { KeptShell, type ScriptLimits, type ScriptResult } from "./kept-shell.ts";
import { fedLine, NOT_INSTALLED, SHELL_MARK, SHELL_PROBE, socketLine, watchedLine } from "./remote-shell.ts";
import type { SshConnection } from "./ssh-connection.ts";

/** sshd allows 10 sessions of one connection by default (MaxSessions); one stays free for a session that is just ending there. */
const SESSIONS = 9;
/** Programs that go on take no more of them, so that others have their turn. */
const FOLLOWED = 6;
const WAITING = 200;
const DEFAULT_MS = 10_000;
const PROBE_MS = 30_000;
/** From the end of a session that was given up to its being counted as gone, where the host does not confirm it. */
const GONE_MS = 2000;
const SETTLED_MS = 50;
const REFUSED_PAUSE_MS = 100;
const NEVER = new AbortController().signal;

/** What the account's shell told of itself. */
export interface RemoteShell {
  uid: number;
  architecture: string;
}

/** Programs of another machine, over the sessions of one connection. */
export class SshSessions {
  readonly #connection: SshConnection;
  readonly #turns = new Turns(
    SESSIONS,
    WAITING,
    () => new HostReadError("TIMEOUT", "ssh", "Too much is being asked of this host at once."),
  );
  readonly #open = new Set<OpenSession>();
  #followed = 0;
  #shell: KeptShell | null = null;
  /** False once the host refused a session: one that is kept is missing for others then. */
  #keepsShell = true;
  #lost: Error | null = null;
  /** Null for an account without a shell. */
  shell: RemoteShell | null = null;
  #noShell = "This host has not been asked for its shell.";

  private constructor(connection: SshConnection) {
    this.#connection = connection;
    void connection.ended.then((error) => {
      this.#lost = new HostReadError("HOST_UNREACHABLE", "ssh", error.message, error);
      for (const session of this.#open) session.lose(this.#lost);
    });
  }

  /** Finds out whether there is a shell. Throws HOST_UNREACHABLE, and TIMEOUT for a host that is too slow to tell. */
  static async open(connection: SshConnection, signal: AbortSignal): Promise<SshSessions> {
    const sessions = new SshSessions(connection);
    // Where it is a program without a shell that answers, the end of its input ends it.
    const probe = await sessions.#run("sh", SHELL_PROBE, { timeoutMs: PROBE_MS, signal, input: "" }).catch((error: unknown) => {
      if (error instanceof HostReadError && error.reason === "UNREADABLE") return error;
      throw error;
    });
    const said = probe instanceof Error ? probe.message : probe.stdout;
    const [, uid, architecture] = new RegExp(`^${SHELL_MARK} (\\d+) (\\S+)$`, "m").exec(said) ?? [];
    if (uid !== undefined && architecture !== undefined) sessions.shell = { uid: Number(uid), architecture };
    else sessions.#noShell = `This account has no shell on the host: ${said.trim().slice(-200) || "it says nothing"}`;
    return sessions;
  }

  async exec(command: HostCommand, options: ExecOptions): Promise<ExecResult> {
    const { program, args, bySudo } = this.#asRoot(command);
    const line = options.input === undefined ? watchedLine(program, args) : fedLine(program, args);
    const result = checkedInstalled(await this.#run(command.program, line, options), program);
    return bySudo ? checkedSudo(result, command.program) : result;
  }

  /** Runs a script for sh without input: in the shell that is kept for it, or in one of its own while that is busy. */
  async script(script: string, limits: ScriptLimits): Promise<ScriptResult> {
    this.demandShell("sh");
    if (this.#keepsShell && (this.#shell === null || this.#shell.isOver)) {
      const { running } = await this.#begin("sh", fedLine("sh", []), limits.timeoutMs, undefined);
      // Of several that began one at once, the first is kept.
      if (this.#shell === null || this.#shell.isOver) this.#shell = new KeptShell(running);
      else running.kill(true);
    }
    const shell = this.#shell;
    if (shell?.isFree) {
      return await shell.run(script, limits).finally(() => {
        if (!this.#keepsShell) shell.close();
      });
    }
    return await this.exec({ program: "sh", args: [] }, { ...limits, input: script });
  }

  async follow(command: HostCommand, signal: AbortSignal): Promise<FollowedCommand> {
    const { program, args } = this.#asRoot(command);
    if (this.#followed >= FOLLOWED) {
      throw new HostReadError("UNREADABLE", program, `${FOLLOWED} programs of this host are being followed already: no more at once.`);
    }
    this.#followed += 1;
    try {
      const { running } = await this.#begin(program, watchedLine(program, args), DEFAULT_MS, signal);
      void running.closed.then(() => {
        this.#followed -= 1;
      });
      return followed({ ...running, stdin: null }, signal);
    } catch (error) {
      this.#followed -= 1;
      throw error;
    }
  }

  /** For a host whose sshd forwards no sockets. */
  async connect(socketPath: string, signal: AbortSignal): Promise<Duplex> {
    this.demandShell(socketPath);
    const { channel, running } = await this.#begin(socketPath, socketLine(socketPath), DEFAULT_MS, signal);
    let said = "";
    channel.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-1000);
    });
    const timer = setTimeout(() => running.kill(true), DEFAULT_MS);
    const begun = await Promise.race([firstByte(channel), running.closed.then(() => false)]);
    clearTimeout(timer);
    if (!begun) throw socketError(socketPath, said);
    return channel;
  }

  #releaseShell(): void {
    this.#keepsShell = false;
    if (this.#shell?.isFree) this.#shell.close();
  }

  demandShell(name: string): RemoteShell {
    if (this.shell === null) throw new HostReadError("NO_SHELL", name, this.#noShell);
    return this.shell;
  }

  /** By sudo, unless the account is root. */
  #asRoot({ program, args, privileged = false }: HostCommand): { program: string; args: readonly string[]; bySudo: boolean } {
    if (this.demandShell(program).uid === 0 || !privileged) return { program, args, bySudo: false };
    return { program: "sudo", args: ["-n", "--", program, ...args], bySudo: true };
  }

  async #run(name: string, line: string, options: ExecOptions): Promise<ExecResult> {
    const { timeoutMs = DEFAULT_MS, input } = options;
    const end = performance.now() + timeoutMs;
    const { running } = await this.#begin(name, line, timeoutMs, options.signal);
    // One without input is killed at the end of its session's input.
    const program = input === undefined ? { ...running, stdin: null } : running;
    return await outputOf(name, program, { ...options, timeoutMs: end - performance.now() });
  }

  /** Waits for its turn. The session is counted until it is gone. */
  async #begin(name: string, line: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<OpenSession> {
    signal?.throwIfAborted();
    if (this.#lost !== null) throw this.#lost;
    const end = performance.now() + timeoutMs;
    const giveBack = await this.#turns.take(timeoutMs, signal ?? NEVER).catch((error: unknown) => {
      throw signal?.aborted ? signal.reason : error;
    });
    const channel = await this.#channel(name, line, end, signal).catch((error: unknown) => {
      giveBack();
      throw error;
    });
    const session = openSession(channel, this.#connection.ended);
    this.#open.add(session);
    void session.running.closed.then(() => {
      this.#open.delete(session);
      giveBack();
    });
    return session;
  }

  /** sshd refuses a session while it counts too many, those that are just ending among them. */
  async #channel(name: string, line: string, end: number, signal: AbortSignal | undefined): Promise<ClientChannel> {
    for (;;) {
      try {
        return await this.#connection.exec(line);
      } catch (error) {
        if (this.#lost !== null) throw this.#lost;
        signal?.throwIfAborted();
        const counts = "reason" in (error as object);
        if (counts) this.#releaseShell();
        if (!counts || performance.now() + REFUSED_PAUSE_MS > end) {
          const message = `The host's sshd opens no ${counts ? "more sessions (MaxSessions)" : "session"}: ${(error as Error).message}`;
          throw new HostReadError("UNREADABLE", name, message, error);
        }
        await pause(REFUSED_PAUSE_MS, signal ?? NEVER);
      }
    }
  }
}

interface OpenSession {
  channel: ClientChannel;
  running: RunningProgram & { stdin: Writable };
  lose(reason: Error): void;
}

function openSession(channel: ClientChannel, connectionEnded: Promise<Error>): OpenSession {
  const closed = Promise.withResolvers<number | null | Error>();
  // The end says what went wrong.
  for (const stream of [channel, channel.stderr]) stream.on("error", () => undefined);
  channel.once("close", (code: number | null | undefined) => {
    if (typeof code === "number") closed.resolve(code);
    // Channels of a connection that is lost are closed before the connection says so: `lose` comes first then.
    else void Promise.race([connectionEnded, pause(SETTLED_MS, NEVER)]).then(() => setImmediate(closed.resolve, null));
  });
  const kill = (force: boolean) => {
    // What sits unread would hold the close back; an iterator that was just left is no reader only in the next turn.
    setImmediate(() => channel.resume());
    if (force) channel.signal("KILL");
    channel.end();
    if (!force) return;
    channel.close();
    setTimeout(closed.resolve, GONE_MS, null).unref();
  };
  const running = { stdin: channel, stdout: channel, stderr: channel.stderr, closed: closed.promise, kill };
  return { channel, running, lose: closed.resolve };
}

/** Takes one byte off the stream; the rest stays in it. Pends for a stream that ends before. */
function firstByte(stream: Duplex): Promise<boolean> {
  return new Promise((resolve) => {
    const take = () => {
      if (stream.read(1) === null) return;
      stream.off("readable", take);
      resolve(true);
    };
    stream.on("readable", take);
  });
}

function checkedInstalled(result: ExecResult, program: string): ExecResult {
  if (result.exitCode !== NOT_INSTALLED.exitCode || result.stderr.trim() !== NOT_INSTALLED.said) return result;
  throw new HostReadError("NOT_INSTALLED", program, `${program} is not installed on this host.`);
}

function socketError(path: string, said: string): HostReadError {
  if (said.includes(NOT_INSTALLED.said)) {
    const message = "The host's sshd forwards no sockets (AllowStreamLocalForwarding), and neither nc nor socat is installed there.";
    return new HostReadError("NOT_SUPPORTED", path, message);
  }
  const reason = reasonSaid(said.trim().split(": ").at(-1) ?? "");
  return said === "" ? readError(reason, path) : new HostReadError(reason, path, `${path}: ${said.trim()}`);
}
