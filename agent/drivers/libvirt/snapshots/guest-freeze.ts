import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import type { DomainReference } from "../../../libvirt/protocol/structures.ts";
import { AFFECT, METADATA } from "../../../libvirt/values.ts";
import type { Domain } from "../domain-index.ts";

/** The element that stands in a running domain's metadata while its file systems may be frozen. */
const NAMESPACE = "https://fleetgraph.dev/frozen/1";
const PREFIX = "fgfrozen";
/** For the guest's agent: one that hangs answers never. */
const AGENT_MS = 30_000;
const THAW_ATTEMPTS = 3;

/** Why a guest was not frozen, in one word; null: it was. */
export type NotFrozen = "NoGuestAgent" | "GuestAgentFailed" | null;

/**
 * Freezes a guest's file systems by its agent. A frozen guest cannot write, and nothing but a thaw ends that: so the domain is marked first, and
 * an agent of ours that comes after one that was killed thaws what is marked.
 */
export class GuestFreeze {
  readonly #client: LibvirtClient;
  readonly #log: Logger;

  constructor(client: LibvirtClient, log: Logger) {
    this.#client = client;
    this.#log = log;
  }

  /** Follow it by `thaw`, whatever it gives. */
  async freeze({ dom, facts }: Domain, signal: AbortSignal): Promise<NotFrozen> {
    if (!facts.agentConnected) return "NoGuestAgent";
    await this.#mark(dom, "<frozen/>", signal);
    try {
      await this.#client.call("domainFsfreeze", { dom, mountpoints: [] }, { signal, timeoutMs: AGENT_MS });
      return null;
    } catch (error) {
      if (!(error instanceof LibvirtError) && FleetError.from(error).reason !== "LibvirtDeadline") throw error;
      this.#log.warn({ err: error, domain: dom.name }, "a guest's file systems were not frozen");
      return "GuestAgentFailed";
    }
  }

  /** Not ended by anybody's signal. Never throws: where it does not work, the next connection to libvirt tries again. */
  async thaw(dom: DomainReference): Promise<void> {
    for (let attempt = 1; attempt <= THAW_ATTEMPTS; attempt++) {
      try {
        await this.#client.call("domainFsthaw", { dom, mountpoints: [] }, { timeoutMs: AGENT_MS });
        await this.#mark(dom, null);
        return;
      } catch (error) {
        // One that does not run any more is not frozen.
        if (LibvirtError.isCode(error, "OPERATION_INVALID", "NO_DOMAIN")) return;
        this.#log.warn({ err: error, domain: dom.name, attempt }, "a guest's file systems are not thawed yet");
      }
    }
  }

  /** What an agent that was killed left frozen. Never throws. */
  async thawLeft(domains: readonly Domain[], signal: AbortSignal): Promise<void> {
    for (const { dom, facts } of domains) {
      if (!facts.agentConnected || signal.aborted) continue;
      const args = { dom, type: METADATA.ELEMENT, uri: NAMESPACE, flags: AFFECT.LIVE };
      const isMarked = await this.#client.call("domainGetMetadata", args, { signal }).then(
        () => true,
        () => false,
      );
      if (!isMarked) continue;
      this.#log.warn({ domain: dom.name }, "a guest was left frozen by an agent that ended: it is thawed");
      await this.thaw(dom);
    }
  }

  async #mark(dom: DomainReference, metadata: string | null, signal?: AbortSignal): Promise<void> {
    const args = { dom, type: METADATA.ELEMENT, metadata, key: PREFIX, uri: NAMESPACE, flags: AFFECT.LIVE };
    await this.#client.call("domainSetMetadata", args, signal === undefined ? {} : { signal });
  }
}
