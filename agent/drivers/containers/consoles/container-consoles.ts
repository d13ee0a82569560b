import type { Duplex } from "node:stream";
import type { ConsoleDriver, InstanceTerminal, TerminalSize } from "../../console-driver.ts";
import type { Ref } from "../../instance-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import { type ContainerFacts, isRunning } from "../container-facts.ts";
import { attempt, EngineRefusal, engineError } from "../engine-errors.ts";
import type { EngineHost } from "../engine-host.ts";
import { AttachedTerminal } from "./attached-terminal.ts";

const RESIZE_MS = 10_000;
/**
 * Docker lets go of a container where it reads these keys, and cannot be told not to: a sequence that nobody types, and whose first key nobody
 * waits for. podman can.
 */
const DETACH_KEYS = Array.from({ length: 16 }, () => "ctrl-@").join(",");

/** The terminals of containers' first processes; what others made may have none, and is shown as it comes. */
export class ContainerConsoles implements ConsoleDriver {
  readonly #host: EngineHost;

  constructor(host: EngineHost) {
    this.#host = host;
  }

  async openTerminal(ref: Ref, size: TerminalSize, signal: AbortSignal): Promise<InstanceTerminal> {
    const facts = await this.#running(ref, signal);
    const terminal = new AttachedTerminal({
      stream: await this.#attach(facts, ref, signal),
      run: `${facts.id} ${facts.startedAt?.getTime() ?? 0}`,
      tty: facts.tty,
      takesInput: facts.openInput,
      setSize: (now) => this.#resize(facts.id, now, AbortSignal.timeout(RESIZE_MS)),
    });
    try {
      await terminal.resize(size);
      return terminal;
    } catch (error) {
      await terminal[Symbol.asyncDispose]();
      // One that has ended meanwhile has no size.
      await this.#running(ref, signal);
      throw error;
    }
  }

  /** As it is now: FAILED_PRECONDITION InstanceMissing, InstanceNotRunning. */
  async #running(ref: Ref, signal: AbortSignal): Promise<ContainerFacts> {
    if ("nativeId" in ref) this.#host.inspections.changed(ref.nativeId);
    const facts = await attempt("describe a container", () => this.#host.own(ref, signal));
    if (!isRunning(facts)) throw precondition("InstanceNotRunning", "It does not run: start it first.");
    return facts;
  }

  async #attach({ id, openInput }: ContainerFacts, ref: Ref, signal: AbortSignal): Promise<Duplex> {
    const detachKeys = (await this.#host.isPodman(signal)) ? "" : DETACH_KEYS;
    const query = { stream: true, stdin: openInput, stdout: true, stderr: true, logs: false, detachKeys };
    try {
      return await this.#host.engine.attach(`/containers/${id}/attach`, { signal, query });
    } catch (error) {
      if (error instanceof EngineRefusal) await this.#running(ref, signal);
      throw engineError(error, "attach to the container");
    }
  }

  async #resize(id: string, { columns, rows }: TerminalSize, signal: AbortSignal): Promise<void> {
    await attempt("set the terminal's size", () =>
      this.#host.engine.post(`/containers/${id}/resize`, { signal, query: { h: rows, w: columns } }),
    );
  }
}
