import type { LibvirtClient } from "../../../libvirt/client.ts";

export type Removal = "removed" | "refused" | "late";

/** Begins to listen for the end of a running domain's device. To be called before it is asked for. */
export function awaitRemoval(client: LibvirtClient, domainUuid: string, alias: string): RemovalWait {
  return new RemovalWait(client, domainUuid, alias);
}

/** The guest's word on a device that it is to let go of. */
export class RemovalWait implements Disposable {
  readonly #told = Promise.withResolvers<Removal>();
  readonly #undo: (() => void)[];

  constructor(client: LibvirtClient, domainUuid: string, alias: string) {
    const tell = (what: Removal) => (event: { dom: { uuid: string }; devAlias: string }) => {
      if (event.dom.uuid === domainUuid && event.devAlias === alias) this.#told.resolve(what);
    };
    this.#undo = [
      client.on("domainDeviceRemoved", tell("removed")),
      client.on("domainDeviceRemovalFailed", tell("refused")),
      // What happened meanwhile was not told.
      client.onConnectionChange(() => this.#told.resolve("late")),
    ];
  }

  /** "late": nothing was told in time. Throws when the signal aborts. */
  async within(ms: number, signal: AbortSignal): Promise<Removal> {
    signal.throwIfAborted();
    const timer = setTimeout(() => this.#told.resolve("late"), ms);
    const aborted = Promise.withResolvers<never>();
    const onAbort = () => aborted.reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([this.#told.promise, aborted.promise]);
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  [Symbol.dispose](): void {
    for (const undo of this.#undo) undo();
  }
}
