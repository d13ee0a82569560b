import type { Duplex } from "node:stream";
import { FleetError } from "../../../../platform/errors/fleet-error.ts";
import type { Logger } from "../../../../platform/observability/log.ts";
import type {
  BeginSourceRequest,
  BeginSourceResponse,
  CheckDestinationRequest,
  CheckDestinationResponse,
  ConfirmSourceRequest,
  ConfirmSourceResponse,
  DescribeSourceResponse,
  FinishDestinationRequest,
  FinishDestinationResponse,
  InspectMigrationRequest,
  InspectMigrationResponse,
  MigrationProgress,
  PerformSourceRequest,
  PrepareDestinationRequest,
  PrepareDestinationResponse,
} from "../../../../schema/generated/proto/hypervisor/v1/migration.ts";
import type { LibvirtClient } from "../../../libvirt/client.ts";
import type { InstanceMark, InstancePlan } from "../../instance-driver.ts";
import type { CarryConnection, MigrationDriver } from "../../migration-driver.ts";
import { precondition } from "../../shared/refusals.ts";
import type { HostAbilities } from "../abilities.ts";
import { type DomainControl, gone } from "../domain-control.ts";
import type { Domain, DomainIndex } from "../domain-index.ts";
import { conditionOf } from "../domain-state.ts";
import type { Networks } from "../networks.ts";
import type { SecurityGroups } from "../security-groups.ts";
import type { InstanceStorage } from "../storage/instance-storage.ts";
import { readDescription } from "./description.ts";
import type { DestinationAttempt } from "./destination-attempt.ts";
import { DestinationChecks } from "./destination-checks.ts";
import { DestinationPreparation } from "./destination-preparation.ts";
import { FileDigests } from "./file-digests.ts";
import { readGuest } from "./guest-xml.ts";
import { InstanceTurns } from "./instance-turns.ts";
import { type DestinationNote, MigrationNotes, type SourceNote } from "./migration-notes.ts";
import { MigrationRecovery } from "./migration-recovery.ts";
import { ProbeFiles } from "./probe-files.ts";
import { qemuUser } from "./qemu-user.ts";
import { removeSocketDirectory, socketDirectory } from "./socket-directory.ts";
import { conflict, SourceAttempt } from "./source-attempt.ts";
import { SourceDescription } from "./source-description.ts";

export interface LibvirtMigrationsOptions {
  client: LibvirtClient;
  log: Logger;
  index: DomainIndex;
  control: DomainControl;
  storage: InstanceStorage;
  networks: Networks;
  securityGroups: SecurityGroups;
  abilities(signal: AbortSignal): Promise<HostAbilities>;
  /** Of the agent alone: notes of attempts are kept here. */
  directory: string;
  /** A guest has come here, or is not hidden any more. */
  onChanged: (uuid: string) => void;
}

/** Attempts of one host at once, at each side. */
const MAX_ATTEMPTS = 16;
const SETTLE_MS = 180_000;

/** Live migration by the phases of libvirt's own protocol, each side's by its agent. */
export class LibvirtMigrations implements MigrationDriver {
  readonly #options: LibvirtMigrationsOptions;
  readonly #notes: MigrationNotes;
  readonly #recovery: MigrationRecovery;
  readonly #description: SourceDescription;
  readonly #checks: DestinationChecks;
  readonly #preparation: DestinationPreparation;
  readonly #probes: ProbeFiles;
  readonly #turns = new InstanceTurns();
  readonly #sources = new Map<string, SourceAttempt>();
  readonly #destinations = new Map<string, DestinationAttempt>();
  readonly #closing = new AbortController();

  constructor(options: LibvirtMigrationsOptions) {
    const { log, directory } = options;
    this.#options = options;
    this.#notes = new MigrationNotes(directory, log);
    this.#probes = new ProbeFiles(directory);
    const digests = new FileDigests();
    this.#recovery = new MigrationRecovery({ ...options, notes: this.#notes });
    this.#description = new SourceDescription({ ...options, digests, probes: this.#probes });
    this.#checks = new DestinationChecks({ ...options, digests });
    this.#preparation = new DestinationPreparation({ ...options, checks: this.#checks, notes: this.#notes, recovery: this.#recovery });
  }

  /** Whether a domain waits for its guest, and is nobody's business until then. */
  hides(uuid: string): boolean {
    return this.#notes.all().some((note) => note.role === "destination" && note.uuid === uuid);
  }

  /** Throws UNAVAILABLE while a guest of this instance is awaited here: nothing may be made, changed or removed under its name. */
  checkNotAwaited(instanceId: string): void {
    if (this.#notes.of(instanceId)?.role !== "destination") return;
    throw new FleetError("UNAVAILABLE", "The instance is on its way to this host.", { reason: "MigrationUnderWay" });
  }

  /** Throws UNAVAILABLE where the guest may run elsewhere already: it must not run here until that is decided. */
  checkMayRun(mark: InstanceMark | null): void {
    const note = mark === null ? null : this.#notes.of(mark.instanceId);
    if (note?.role !== "source" || note.generation !== mark?.generation) return;
    throw new FleetError("UNAVAILABLE", "The instance is on its way to another host, and it is not decided yet where it runs.", {
      reason: "MigrationUnderWay",
    });
  }

  /** libvirt is reached (again): puts in order what is left of attempts. What fails is tried again when somebody asks. */
  async recover(): Promise<void> {
    const { storage, log } = this.#options;
    await this.#probes.clear(storage.places.instances);
    for (const { instanceId } of this.#notes.all()) {
      await this.#settled(instanceId).catch((error: unknown) =>
        log.warn({ instanceId, err: error }, "what is left of a migration stays for now"),
      );
    }
  }

  async describe(plan: InstancePlan, signal: AbortSignal): Promise<DescribeSourceResponse> {
    await this.#settled(plan.instanceId);
    return await this.#description.make(plan, await this.#existing(plan.instanceId, signal), signal);
  }

  async check(request: CheckDestinationRequest, signal: AbortSignal): Promise<CheckDestinationResponse> {
    const { instanceId, description, probeName } = request;
    await this.#settled(instanceId);
    const answer = await this.#checks.run(readDescription(description), probeName, signal);
    const isHere = (await this.#options.index.find({ instanceId }, signal)) !== null;
    const message = isHere ? "This host has a domain of this instance already, left of an earlier placement." : "";
    return { ...answer, checks: [{ name: "State", passed: !isHere, message }, ...answer.checks] };
  }

  async begin(request: BeginSourceRequest, onEnded: () => void, signal: AbortSignal): Promise<BeginSourceResponse> {
    const { instanceId, migrationId, copiesDisks } = request;
    await this.#settled(instanceId);
    return await this.#turns.use(instanceId, async () => {
      const { client, abilities, directory, log } = this.#options;
      const known = this.#sources.get(instanceId);
      if (known?.migrationId === migrationId) return known.begun;
      if (known !== undefined) throw conflict("Another migration of this instance is under way.", known.migrationId);
      this.#checkUndecided(instanceId, migrationId);
      if (this.#sources.size >= MAX_ATTEMPTS) throw tooMany();
      await this.#probes.remove(instanceId);
      const { dom } = await this.#existing(instanceId, signal);
      const { xml } = await client.call("domainGetXmlDesc", { dom }, { signal });
      const targets = copiesDisks
        ? readGuest(xml, instanceId)
            .disks.filter(({ kind }) => kind === "own")
            .map(({ target }) => target)
        : [];
      const attempt = await SourceAttempt.begin(
        {
          ...{ client, log, dom, request, targets, notes: this.#notes },
          socketDirectory: socketDirectory(directory, migrationId, "source"),
          qemu: await qemuUser(client, (await abilities(signal)).accelerator, signal),
          onEnded: (ended) => {
            if (this.#sources.get(instanceId) === ended) this.#sources.delete(instanceId);
            void this.#settleSoon(instanceId).finally(onEnded);
          },
        },
        signal,
      );
      if (attempt.isOver) throw lost();
      this.#sources.set(instanceId, attempt);
      return attempt.begun;
    });
  }

  async prepare(request: PrepareDestinationRequest, signal: AbortSignal): Promise<PrepareDestinationResponse> {
    const { instanceId, migrationId } = request;
    await this.#settled(instanceId);
    return await this.#turns.use(instanceId, async () => {
      const known = this.#destinations.get(instanceId);
      if (known?.migrationId === migrationId) return known.prepared;
      if (known !== undefined) throw conflict("Another migration of this instance is under way.", known.migrationId);
      this.#checkUndecided(instanceId, migrationId);
      if (this.#destinations.size >= MAX_ATTEMPTS) throw tooMany();
      const attempt = await this.#preparation.run(request, signal, (ended) => this.#onDestinationEnded(instanceId, ended));
      if (attempt.isOver) throw lost();
      this.#destinations.set(instanceId, attempt);
      return attempt.prepared;
    });
  }

  async accept(migrationId: string, ticket: string, channel: string): Promise<Duplex> {
    const attempt = [...this.#destinations.values()].find((one) => one.migrationId === migrationId);
    if (attempt === undefined || !attempt.isFor(ticket)) {
      throw new FleetError("UNAUTHENTICATED", "No guest is awaited with this ticket.", { reason: "WrongTicket" });
    }
    return await attempt.connect(channel);
  }

  async perform(
    request: PerformSourceRequest,
    carry: CarryConnection,
    onProgress: (progress: MigrationProgress) => void,
    signal: AbortSignal,
  ): Promise<string> {
    const attempt = this.#sources.get(request.instanceId);
    if (attempt?.migrationId !== request.migrationId) {
      throw precondition("MigrationNotBegun", "This migration was not begun here, or it is over: begin another one.");
    }
    return await attempt.perform(request, carry, onProgress, signal);
  }

  async finish(request: FinishDestinationRequest, signal: AbortSignal): Promise<FinishDestinationResponse> {
    const { instanceId, migrationId, generation, cancelled, cookie } = request;
    return await this.#turns.use(instanceId, async () => {
      const attempt = this.#destinations.get(instanceId);
      const isOurs = attempt?.migrationId === migrationId;
      let answer = "";
      if (isOurs && cancelled) await attempt.cancel();
      // What became of it is seen below; where nobody knows, that is thrown.
      else if (isOurs) answer = (await attempt.finish(cookie)).cookie;
      await this.#settleNow(instanceId, signal);
      const domain = await this.#placed(instanceId, generation, signal);
      return { running: domain !== null, cookie: answer, nativeId: domain?.dom.uuid ?? "" };
    });
  }

  async confirm(request: ConfirmSourceRequest, signal: AbortSignal): Promise<ConfirmSourceResponse> {
    const { instanceId, migrationId, generation, cancelled, cookie } = request;
    const { log } = this.#options;
    const attempt = this.#sources.get(instanceId);
    if (attempt !== undefined && attempt.migrationId !== migrationId) {
      throw conflict("Another migration of this instance is under way.", attempt.migrationId);
    }
    if (!cancelled && attempt !== undefined && !attempt.isPerformed) throw notPerformed();
    // libvirt itself may have lost the attempt: what is to be is done all the same.
    await attempt?.confirm(cancelled, cookie).catch((error: unknown) => {
      log.info({ migrationId, err: error }, "a migration is ended without libvirt's own word");
      return attempt.abandon();
    });
    await this.#settled(instanceId);
    return await this.#turns.use(instanceId, async () => {
      const note = this.#notes.of(instanceId);
      const running = cancelled && (await this.#recovery.goOnAtSource({ instanceId, generation }, signal));
      if (!cancelled) await this.#endAtSource({ instanceId, generation }, signal);
      if (note?.role === "source" && note.generation === generation) await this.#forget(note);
      return { running };
    });
  }

  async inspect({ instanceId, migrationId }: InspectMigrationRequest, signal: AbortSignal): Promise<InspectMigrationResponse> {
    await this.#settled(instanceId);
    return await this.#turns.use(instanceId, async () => {
      const attemptKnown = [this.#sources, this.#destinations].some((attempts) => attempts.get(instanceId)?.migrationId === migrationId);
      const domain = await this.#options.index.find({ instanceId }, signal);
      if (domain === null) return { state: "ABSENT", generation: 0, attemptKnown };
      const generation = domain.facts.mark?.generation ?? 0;
      const isAwaited = this.#destinations.has(instanceId);
      return { state: isAwaited ? "INCOMING" : stateWord(domain), generation, attemptKnown };
    });
  }

  /** What is under way ends as it does when the agent is killed. */
  async close(): Promise<void> {
    this.#closing.abort(new FleetError("CANCELLED", "The agent is stopping."));
    await Promise.all([...this.#sources.values(), ...this.#destinations.values()].map((attempt) => attempt.abandon()));
    await this.#probes.close();
  }

  /** Not a guest that runs although nothing says that it was copied. */
  async #endAtSource(placement: { instanceId: string; generation: number }, signal: AbortSignal): Promise<void> {
    const note = this.#notes.of(placement.instanceId);
    const isPerformed = note?.role === "source" && note.state === "performed" && note.generation === placement.generation;
    const domain = await this.#placed(placement.instanceId, placement.generation, signal);
    if (domain !== null && !isPerformed && stateWord(domain) === "RUNNING") throw notPerformed();
    await this.#recovery.endAtSource(placement, signal);
  }

  #onDestinationEnded(instanceId: string, ended: DestinationAttempt): void {
    if (this.#destinations.get(instanceId) === ended) this.#destinations.delete(instanceId);
    void this.#settleSoon(instanceId);
  }

  /** A source that waits for the control plane's decision, and a destination that could not be put in order. */
  #checkUndecided(instanceId: string, migrationId: string): void {
    const note = this.#notes.of(instanceId);
    if (note === null) return;
    if (note.migrationId === migrationId)
      throw precondition("MigrationOver", "This migration was tried before and is not decided: cancel it.");
    throw conflict("An earlier migration of this instance is not decided yet.", note.migrationId);
  }

  /** Nothing of an attempt is left that is not in hand. */
  async #settled(instanceId: string): Promise<void> {
    const signal = AbortSignal.any([this.#closing.signal, AbortSignal.timeout(SETTLE_MS)]);
    await this.#turns.use(instanceId, () => this.#settleNow(instanceId, signal));
  }

  /** After an attempt; while libvirt is away, that is done when it is back. */
  async #settleSoon(instanceId: string): Promise<void> {
    const { client, log } = this.#options;
    if (this.#closing.signal.aborted || !client.connected) return;
    await this.#settled(instanceId).catch((error: unknown) =>
      log.info({ instanceId, err: error }, "what is left of a migration is put in order later"),
    );
  }

  async #settleNow(instanceId: string, signal: AbortSignal): Promise<void> {
    const note = this.#notes.of(instanceId);
    if (note === null || this.#sources.has(instanceId) || this.#destinations.has(instanceId)) return;
    if (note.role === "destination") await this.#settleDestination(note, signal);
    else if (note.state === "performing") {
      // Nobody got its cookie: the guest is this host's.
      await this.#recovery.goOnAtSource(note, signal);
      await this.#forget(note);
    }
  }

  async #settleDestination(note: DestinationNote, signal: AbortSignal): Promise<void> {
    await this.#recovery.settleDestination(note, signal);
    this.#options.index.drop(note.uuid);
    this.#options.onChanged(note.uuid);
  }

  async #forget(note: SourceNote): Promise<void> {
    await removeSocketDirectory(note.socketDirectory);
    await this.#notes.remove(note);
    this.#options.onChanged(note.uuid);
  }

  async #placed(instanceId: string, generation: number, signal: AbortSignal): Promise<Domain | null> {
    const domain = await this.#options.index.find({ instanceId }, signal);
    return domain?.facts.mark?.generation === generation ? domain : null;
  }

  async #existing(instanceId: string, signal: AbortSignal): Promise<Domain> {
    const domain = await this.#options.index.find({ instanceId }, signal);
    if (domain === null) throw gone();
    return domain;
  }
}

function stateWord({ state, reason }: Domain): string {
  const condition = conditionOf(state, reason).state;
  if (condition === "RUNNING" || condition === "PAUSED") return condition;
  return condition === "STOPPING" ? "RUNNING" : "STOPPED";
}

function lost(): FleetError {
  return new FleetError("UNAVAILABLE", "The connection to libvirt was lost.", { reason: "LibvirtConnectionLost" });
}

function notPerformed(): FleetError {
  return precondition("MigrationNotPerformed", "The guest was not copied: it runs here, and is not ended.");
}

function tooMany(): FleetError {
  return new FleetError("RESOURCE_EXHAUSTED", `A host takes part in at most ${MAX_ATTEMPTS} migrations at once: try again later.`, {
    reason: "TooManyMigrations",
  });
}
