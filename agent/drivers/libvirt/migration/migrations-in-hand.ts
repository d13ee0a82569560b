import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { InstanceMark } from "../../instance-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import type { DestinationAttempt } from "./destination-attempt.ts";
import { InstanceTurns } from "./instance-turns.ts";
import type { MigrationNotes, SourceNote } from "./migration-notes.ts";
import type { MigrationRecovery } from "./migration-recovery.ts";
import { removeSocketDirectory } from "./socket-directory.ts";
import { conflict, type SourceAttempt } from "./source-attempt.ts";

export interface MigrationsInHandOptions {
  client: LibvirtClient;
  log: Logger;
  notes: MigrationNotes;
  recovery: MigrationRecovery;
  /** A guest has come here, or is not hidden any more. */
  onChanged: (uuid: string) => void;
}

/** Attempts of one host at once, at each side. */
const MAX_ATTEMPTS = 16;
const SETTLE_MS = 180_000;

/** The attempts that this host takes part in, and what others left that are not in hand any more. */
export class MigrationsInHand {
  readonly sources = new Map<string, SourceAttempt>();
  readonly destinations = new Map<string, DestinationAttempt>();
  readonly #options: MigrationsInHandOptions;
  readonly #turns = new InstanceTurns();
  readonly #closing = new AbortController();

  constructor(options: MigrationsInHandOptions) {
    this.#options = options;
  }

  /** Whether a domain waits for its guest, and is nobody's business until then. */
  hides(uuid: string): boolean {
    return this.#options.notes.all().some((note) => note.role === "destination" && note.uuid === uuid);
  }

  /** Throws UNAVAILABLE while a guest of this instance is awaited here: nothing may be made, changed or removed under its name. */
  checkNotAwaited(instanceId: string): void {
    if (this.#options.notes.of(instanceId)?.role === "destination") throw underWay("The instance is on its way to this host.");
  }

  /** Throws UNAVAILABLE where the guest may run elsewhere already: it must not run here until that is decided. */
  checkMayRun(mark: InstanceMark | null): void {
    const note = mark === null ? null : this.#options.notes.of(mark.instanceId);
    if (note?.role !== "source" || note.generation !== mark?.generation) return;
    throw underWay("The instance is on its way to another host, and it is not decided yet where it runs.");
  }

  /** Throws CONFLICT or FAILED_PRECONDITION where something is undecided, RESOURCE_EXHAUSTED where too much is under way. */
  checkMayBegin(attempts: ReadonlyMap<string, { migrationId: string }>, instanceId: string, migrationId: string): void {
    const known = attempts.get(instanceId);
    if (known !== undefined) throw conflict("Another migration of this instance is under way.", known.migrationId);
    const note = this.#options.notes.of(instanceId);
    if (note?.migrationId === migrationId) {
      throw precondition("MigrationOver", "This migration was tried before and is not decided: cancel it.");
    }
    if (note !== null) throw conflict("An earlier migration of this instance is not decided yet.", note.migrationId);
    if (attempts.size >= MAX_ATTEMPTS) throw tooMany();
  }

  /** One thing at a time for an instance; what is left of attempts is in order before. */
  async turn<T>(instanceId: string, work: () => Promise<T>): Promise<T> {
    return await this.#turns.use(instanceId, async () => {
      await this.settle(instanceId);
      return await work();
    });
  }

  /** Puts in order what is left of an attempt that is not in hand. Within a turn. */
  async settle(instanceId: string): Promise<void> {
    const { notes, recovery, onChanged } = this.#options;
    const note = notes.of(instanceId);
    if (note === null || this.sources.has(instanceId) || this.destinations.has(instanceId)) return;
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(SETTLE_MS)]);
    if (note.role === "destination") {
      await recovery.settleDestination(note, signal);
      onChanged(note.uuid);
    } else if (note.state === "performing") {
      // Nobody got its cookie: the guest is this host's.
      await recovery.goOnAtSource(note, signal);
      await this.forget(note);
    }
  }

  /** After an attempt; while libvirt is away, that is done when it is back. Never throws. */
  async settleSoon(instanceId: string): Promise<void> {
    const { client, log } = this.#options;
    if (this.#closing.signal.aborted || !client.connected) return;
    await this.turn(instanceId, async () => undefined).catch((error: unknown) =>
      log.info({ instanceId, err: error }, "what is left of a migration is put in order later"),
    );
  }

  /** All that is left; what fails is tried again when somebody asks. */
  async settleAll(): Promise<void> {
    for (const { instanceId } of this.#options.notes.all()) await this.settleSoon(instanceId);
  }

  /** It is decided. */
  async forget(note: SourceNote): Promise<void> {
    await removeSocketDirectory(note.socketDirectory);
    await this.#options.notes.remove(note);
    this.#options.onChanged(note.uuid);
  }

  async close(): Promise<void> {
    this.#closing.abort(new FleetError("CANCELLED", "The agent is stopping."));
    await Promise.all([...this.sources.values(), ...this.destinations.values()].map((attempt) => attempt.abandon()));
  }
}

function underWay(message: string): FleetError {
  return new FleetError("UNAVAILABLE", message, { reason: "MigrationUnderWay" });
}

function tooMany(): FleetError {
  return new FleetError("RESOURCE_EXHAUSTED", `A host takes part in at most ${MAX_ATTEMPTS} migrations at once: try again later.`, {
    reason: "TooManyMigrations",
  });
}
