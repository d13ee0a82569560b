import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import { pause } from "../../../control-plane/backoff.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import type { DomainReference } from "../../../libvirt/protocol/structures.ts";
import type { LibvirtStream } from "../../../libvirt/stream.ts";
import type { ConsoleDriver, InstanceTerminal, OpenTerminalOptions, TerminalSize } from "../../console-driver.ts";
import type { Ref } from "../../instance-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import { gone } from "../domain-control.ts";
import type { DomainIndex } from "../domain-index.ts";
import { isActive } from "../domain-state.ts";
import { driverError } from "../driver-errors.ts";
import { ConsoleEnds } from "./console-ends.ts";
import { SerialTerminal } from "./serial-terminal.ts";

/** virDomainConsoleFlags. */
const FORCE = 1;
/** A daemon needs a moment until it knows that who had the console is gone. */
const BUSY_MS = 1000;
const BUSY_PAUSE_MS = 50;

/** The first serial line of VMs and microVMs, by the daemon's stream. */
export class LibvirtConsoles implements ConsoleDriver {
  readonly #client: LibvirtClient;
  readonly #index: DomainIndex;
  readonly #ends: ConsoleEnds;

  constructor(client: LibvirtClient, index: DomainIndex) {
    this.#client = client;
    this.#index = index;
    this.#ends = new ConsoleEnds(client);
  }

  async openTerminal(
    ref: Ref,
    _size: TerminalSize,
    signal: AbortSignal,
    { force }: OpenTerminalOptions = { force: false },
  ): Promise<InstanceTerminal> {
    const domain = await this.#index.find(ref, signal);
    if (domain === null) throw gone();
    if (!isActive(domain.state)) throw notRunning();
    try {
      // The number that a domain has while it runs is another one after each start, and the same after a restart of the daemon.
      const { dom } = await this.#client.call("domainLookupByUuid", { uuid: domain.dom.uuid }, { signal });
      const stream = await this.#openStream(dom, force, signal);
      return new SerialTerminal(stream, `${dom.uuid} ${dom.id}`, this.#ends.watch(dom.uuid));
    } catch (error) {
      throw consoleError(error);
    }
  }

  close(): void {
    this.#ends.close();
  }

  async #openStream(dom: DomainReference, force: boolean, signal: AbortSignal): Promise<LibvirtStream> {
    const end = performance.now() + BUSY_MS;
    for (;;) {
      try {
        return await this.#client.openStream("domainOpenConsole", { dom, flags: force ? FORCE : 0 }, { signal });
      } catch (error) {
        if (!isBusy(error) || performance.now() > end || signal.aborted) throw error;
        await pause(BUSY_PAUSE_MS, signal);
      }
    }
  }
}

function isBusy(error: unknown): boolean {
  return LibvirtError.isCode(error, "OPERATION_FAILED") && /active console session/i.test((error as Error).message);
}

function consoleError(error: unknown): FleetError {
  if (isBusy(error))
    return precondition("ConsoleBusy", "Another program on the host holds this console: take it over, or end that program.");
  if (LibvirtError.isCode(error, "NO_DOMAIN")) return gone();
  if (LibvirtError.isCode(error, "OPERATION_INVALID")) return notRunning();
  if (error instanceof LibvirtError && /character device/i.test(error.message)) {
    return precondition("NoConsole", "It has no serial line that can be opened.");
  }
  return error instanceof FleetError ? error : driverError(error, "open the console");
}

function notRunning(): FleetError {
  return precondition("InstanceNotRunning", "It does not run: start it first.");
}
