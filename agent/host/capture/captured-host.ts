import type { Duplex } from "node:stream";
import {
  type ExecOptions,
  type ExecResult,
  type FileSystemSize,
  type FollowedCommand,
  type HostChannel,
  type HostCommand,
  HostReadError,
  type InterfaceAddress,
} from "../host-channel.ts";
import { checkedSudo } from "../program.ts";
import { readError } from "../read-error.ts";
import { NOT_INSTALLED } from "../ssh/remote-shell.ts";
import { type Capture, type CapturedEntry, commandKey } from "./format.ts";
import { askedFor } from "./globs.ts";

const NUMERIC = new Intl.Collator("en", { numeric: true });
/** Of `timeout`. */
const TIMED_OUT = 124;

/**
 * What was fetched of a host at once. Where the host itself is at hand (`live`), it is asked for what no capture holds: sizes of file
 * systems, sockets, other programs. What was not asked for when it was fetched is UNREADABLE: the needs of who reads it are incomplete.
 */
export class CapturedHost implements HostChannel {
  readonly kind = "captured";
  readonly #capture: Capture;
  readonly #live: HostChannel | null;
  #isAskedFor: ((path: string) => boolean) | null = null;

  constructor(capture: Capture, live: HostChannel | null = null) {
    this.#capture = capture;
    this.#live = live;
  }

  async read(path: string): Promise<string> {
    const { content, problem } = this.#entry(path);
    if (content === undefined) throw readError(problem ?? "UNREADABLE", path);
    return content;
  }

  async list(path: string): Promise<string[]> {
    const { names, problem } = this.#entry(path);
    if (names === undefined || problem !== undefined) throw readError(problem ?? "NOT_PRESENT", path);
    return [...names].sort(NUMERIC.compare);
  }

  async readLink(path: string): Promise<string> {
    const { link, content, names, problem } = this.#entry(path);
    if (link !== undefined) return link;
    throw readError((content ?? names) === undefined ? (problem ?? "NOT_SUPPORTED") : "NOT_SUPPORTED", path);
  }

  async architecture(): Promise<string | null> {
    return this.#capture.architecture || null;
  }

  async fileSystem(path: string): Promise<FileSystemSize> {
    return await this.#demandLive(path).fileSystem(path);
  }

  async addresses(): Promise<InterfaceAddress[]> {
    return await this.#demandLive("addresses").addresses();
  }

  async exec(command: HostCommand, options?: ExecOptions): Promise<ExecResult> {
    const { program, privileged = false } = command;
    const captured = this.#capture.commands.get(commandKey(command));
    if (captured === undefined) return await this.#demandLive(program).exec(command, options);
    const { exitCode, stdout, stderr } = captured;
    if (exitCode === NOT_INSTALLED.exitCode && stderr.includes(NOT_INSTALLED.said)) {
      throw new HostReadError("NOT_INSTALLED", program, `${program} is not installed on this host.`);
    }
    if (exitCode === TIMED_OUT && stdout === "") throw new HostReadError("TIMEOUT", program, `${program} did not end in time.`);
    const result = { exitCode, stdout, stderr };
    return privileged ? checkedSudo(result, program) : result;
  }

  async follow(command: HostCommand, signal: AbortSignal): Promise<FollowedCommand> {
    return await this.#demandLive(command.program).follow(command, signal);
  }

  async connect(socketPath: string, signal: AbortSignal): Promise<Duplex> {
    return await this.#demandLive(socketPath).connect(socketPath, signal);
  }

  async snapshot(): Promise<HostChannel> {
    return this;
  }

  #entry(path: string): CapturedEntry {
    const entry = this.#capture.entries.get(path);
    if (entry !== undefined) return entry;
    this.#isAskedFor ??= askedFor(this.#capture.paths);
    if (this.#isAskedFor(path)) throw readError("NOT_PRESENT", path);
    throw new HostReadError("UNREADABLE", path, `${path} was not among what was fetched of this host.`);
  }

  #demandLive(name: string): HostChannel {
    if (this.#live !== null) return this.#live;
    throw new HostReadError("UNREADABLE", name, `${name}: a captured host answers only what was captured.`);
  }
}
