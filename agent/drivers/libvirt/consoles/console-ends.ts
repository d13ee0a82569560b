import type { LibvirtClient, Unsubscribe } from "../../../libvirt/client.ts";
import { DOMAIN_EVENT_DETAILS } from "../../../libvirt/values.ts";

/** How a domain stopped while its console was open. */
export interface EndWatch {
  /** Resolves when it has stopped; by migration or not. */
  readonly stopped: Promise<{ migrated: boolean }>;
  end(): void;
}

/** Tells consoles why their domains stopped: a stream only ends. */
export class ConsoleEnds {
  readonly #watches = new Map<string, Set<(migrated: boolean) => void>>();
  readonly #undo: Unsubscribe;

  constructor(client: LibvirtClient) {
    this.#undo = client.on("domainLifecycle", ({ dom, event, detail }) => {
      if (event !== "STOPPED") return;
      const migrated = DOMAIN_EVENT_DETAILS.STOPPED[detail] === "MIGRATED";
      for (const tell of this.#watches.get(dom.uuid) ?? []) tell(migrated);
    });
  }

  watch(uuid: string): EndWatch {
    const { promise: stopped, resolve } = Promise.withResolvers<{ migrated: boolean }>();
    const tell = (migrated: boolean) => resolve({ migrated });
    const watches = this.#watches.get(uuid) ?? new Set();
    this.#watches.set(uuid, watches.add(tell));
    const end = () => {
      watches.delete(tell);
      if (watches.size === 0 && this.#watches.get(uuid) === watches) this.#watches.delete(uuid);
    };
    return { stopped, end };
  }

  close(): void {
    this.#undo();
    this.#watches.clear();
  }
}
