import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import { pause } from "../../../control-plane/backoff.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import { LibvirtError } from "../../../libvirt/errors.ts";
import { DOMAIN_STATE_REASONS, DOMAIN_STATES, type DomainState } from "../../../libvirt/values.ts";
import type { DomainControl } from "../domain-control.ts";
import type { Domain, DomainIndex } from "../domain-index.ts";
import { isActive } from "../domain-state.ts";
import { driverError } from "../driver-errors.ts";
import type { SecurityGroups } from "../security-groups.ts";
import type { InstanceStorage } from "../storage/instance-storage.ts";
import type { DestinationNote, MigrationNotes, SourceNote } from "./migration-notes.ts";
import { removeSocketDirectory } from "./socket-directory.ts";

export interface MigrationRecoveryOptions {
  client: LibvirtClient;
  log: Logger;
  index: DomainIndex;
  control: DomainControl;
  storage: Pick<InstanceStorage, "remove">;
  securityGroups: SecurityGroups;
  notes: MigrationNotes;
}

/** A call of an agent that was killed may still be carried out: libvirt lets nothing else happen to the domain meanwhile. */
const PATIENCE_MS = 60_000;
const AGAIN_MS = 250;
/** Reasons of a pause that a migration left. */
const BY_MIGRATION: ReadonlySet<string> = new Set(["MIGRATION", "POSTCOPY", "UNKNOWN"]);
/** Of a guest that has run here and ended; the others are said of one that never did, too. */
const HAS_RUN: ReadonlySet<string> = new Set(["SHUTDOWN", "DESTROYED", "CRASHED", "SAVED", "MIGRATED"]);

/** Puts in order what attempts left whose connection is gone: with the agent, with libvirt's daemon, or because they ended. */
export class MigrationRecovery {
  readonly #options: MigrationRecoveryOptions;
  readonly #client: LibvirtClient;

  constructor(options: MigrationRecoveryOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  /** The guest is to run on here: it is brought on where the migration has stopped it. Whether it runs. */
  async goOnAtSource(note: Pick<SourceNote, "instanceId" | "generation">, signal: AbortSignal): Promise<boolean> {
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      const domain = await this.#own(note, signal);
      if (domain === null || !isActive(domain.state)) return false;
      if (!isStoppedByMigration(domain)) return DOMAIN_STATES[domain.state] === "RUNNING";
      try {
        await this.#client.call("domainResume", { dom: domain.dom }, { signal, timeoutMs: PATIENCE_MS });
      } catch (error) {
        // A job that is about to end holds the domain.
        if (!(error instanceof LibvirtError) || performance.now() > until) throw driverError(error, "bring the guest on");
        await pause(AGAIN_MS, signal);
      }
    }
  }

  /** The guest runs elsewhere: whatever is left of its domain goes. */
  async endAtSource(note: Pick<SourceNote, "instanceId" | "generation">, signal: AbortSignal): Promise<void> {
    const domain = await this.#own(note, signal);
    if (domain !== null) await this.#options.control.remove(domain, signal);
  }

  /** Whether the guest has come over; what was made for it is removed otherwise. */
  async settleDestination(note: DestinationNote, signal: AbortSignal): Promise<boolean> {
    const cameOver = await this.#cameOver(note, signal);
    await removeSocketDirectory(note.socketDirectory);
    if (!cameOver) await this.clean(note, signal);
    await this.#options.notes.remove(note);
    return cameOver;
  }

  /** Removes what was made for a guest that does not come. */
  async clean({ instanceId, madeDisks }: Pick<DestinationNote, "instanceId" | "madeDisks">, signal: AbortSignal): Promise<void> {
    const { storage, securityGroups } = this.#options;
    await securityGroups.remove(instanceId, signal);
    if (madeDisks) await storage.remove(instanceId, signal);
  }

  /** Of this placement; null where there is none. */
  async #own({ instanceId, generation }: Pick<SourceNote, "instanceId" | "generation">, signal: AbortSignal): Promise<Domain | null> {
    const domain = await this.#options.index.find({ instanceId }, signal);
    return domain?.facts.mark?.generation === generation ? domain : null;
  }

  async #cameOver(note: DestinationNote, signal: AbortSignal): Promise<boolean> {
    const { index, control, log } = this.#options;
    const until = performance.now() + PATIENCE_MS;
    for (;;) {
      index.drop(note.uuid);
      const domain = await this.#own(note, signal);
      if (domain === null) return false;
      const state = DOMAIN_STATES[domain.state];
      if (state === "RUNNING" || state === "BLOCKED" || state === "SHUTDOWN" || state === "PMSUSPENDED") return true;
      if (!isActive(domain.state) && note.state === "finishing" && HAS_RUN.has(reasonOf(domain))) return true;
      // Its start may be under way, by a call of an agent that is no more.
      const mayStart = state === "PAUSED" && note.state === "finishing" && performance.now() < until;
      if (!mayStart) {
        log.info({ instanceId: note.instanceId, state }, "a guest that did not come over is removed");
        await control.remove(domain, signal).catch((error: unknown) => {
          // libvirt removes it itself, too.
          if (!(error instanceof FleetError && error.reason === "InstanceMissing")) throw error;
        });
        return false;
      }
      await pause(AGAIN_MS, signal);
      if (signal.aborted) throw FleetError.from(signal.reason);
    }
  }
}

export function isStoppedByMigration(domain: Domain): boolean {
  return DOMAIN_STATES[domain.state] === "PAUSED" && BY_MIGRATION.has(reasonOf(domain));
}

function reasonOf({ state, reason }: Domain): string {
  const name: DomainState = DOMAIN_STATES[state] ?? "NOSTATE";
  const reasons: readonly string[] = DOMAIN_STATE_REASONS[name];
  return reasons[reason] ?? "UNKNOWN";
}
